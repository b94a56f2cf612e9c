// Command peer measures what people would pick instead, on the same machine, with the same fleet of devices, in the same
// run: mosquitto, as far as a broker's work is comparable (idle connections and fan-out; it stores nothing durably). It
// then puts Carillon's results, which `carillon bench` has left in the output folder, in relation to it.
//
//	go run ./bench/peer bench/out
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

const (
	devices  = 10000
	messages = 10
	size     = 256
	hold     = 10 * time.Second
	patience = 2 * time.Minute // for each phase
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// A result has the names of those of `carillon bench`, so that one can be divided by the other.
type result struct {
	Connect          rate    `json:"connect"`
	Deliver          rate    `json:"deliver"`
	RSSPerConnection float64 `json:"rss_per_connection"`
	CPUPerMillion    float64 `json:"cpu_seconds_per_million"`
}

type rate struct {
	PerSecond float64 `json:"per_second"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: peer FOLDER")
	}
	for _, qos := range []int{1, 0} {
		theirs, err := mosquitto(ctx, qos)
		if err != nil {
			return err
		}
		name := "broadcast"
		if qos == 0 {
			name = "broadcast-qos0"
		}
		b, err := json.MarshalIndent(theirs, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(args[0], "mosquitto-"+name+".json"), append(b, '\n'), 0o644); err != nil {
			return err
		}
		ours, err := read(filepath.Join(args[0], name+".json"))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-18s %-22s %12s %12s %8s\n", name, "", "carillon", "mosquitto", "ratio")
		for _, row := range []struct {
			what         string
			ours, theirs float64
		}{
			{"deliveries/s", ours.Deliver.PerSecond, theirs.Deliver.PerSecond},
			{"CPU s a million", ours.CPUPerMillion, theirs.CPUPerMillion},
			{"connects/s", ours.Connect.PerSecond, theirs.Connect.PerSecond},
			{"RSS bytes/connection", ours.RSSPerConnection, theirs.RSSPerConnection},
		} {
			fmt.Fprintf(out, "%-18s %-22s %12.0f %12.0f %8.2f\n", "", row.what, row.ours, row.theirs, row.ours/row.theirs)
		}
	}
	return nil
}

func read(path string) (r result, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// mosquitto starts a broker, connects the fleet, and publishes to it.
func mosquitto(ctx context.Context, qos int) (r result, err error) {
	b, err := startBroker(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	rss, _, err := b.usage()
	if err != nil {
		return r, err
	}
	ids := make([]device.Identity, devices)
	for i := range ids {
		ids[i] = device.Identity{DeviceID: fmt.Sprintf("device-%d", i), Secret: "any"}
	}
	fleet := device.NewFleet(b.addr, ids, &device.FleetOptions{AtMostOnce: qos == 0, Sources: device.LoopbackSources(2)})
	fctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- fleet.Run(fctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-done)
	}()
	wait := func(ok func(device.FleetStats) bool) error {
		c, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return fleet.Wait(c, ok)
	}

	began := time.Now()
	if err := wait(func(s device.FleetStats) bool { return s.Connected == devices }); err != nil {
		return r, fmt.Errorf("connecting: %w (%+v)", err, fleet.Stats())
	}
	r.Connect.PerSecond = devices / time.Since(began).Seconds()
	select {
	case <-time.After(hold):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	full, cpu, err := b.usage()
	if err != nil {
		return r, err
	}
	r.RSSPerConnection = float64(full-rss) / devices

	began = time.Now()
	if err := b.publish(ctx); err != nil {
		return r, err
	}
	if err := wait(func(s device.FleetStats) bool { return s.Messages-s.Duplicates >= devices*messages }); err != nil {
		return r, fmt.Errorf("delivering: %w (%+v)", err, fleet.Stats())
	}
	r.Deliver.PerSecond = devices * messages / time.Since(began).Seconds()
	_, used, err := b.usage()
	r.CPUPerMillion = (used - cpu) / (devices * messages) * 1e6
	return r, err
}

// A broker is a mosquitto of our own.
type broker struct {
	cmd  *exec.Cmd
	dir  string
	addr netip.AddrPort
}

// settings let nobody wait for anybody, and drop nothing.
const settings = `listener %d 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
allow_duplicate_messages true
set_tcp_nodelay true
log_type error
`

func startBroker(ctx context.Context) (*broker, error) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &broker{addr: netip.MustParseAddrPort(ln.Addr().String())}
	ln.Close()
	if b.dir, err = os.MkdirTemp("", "peer-*"); err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, "mosquitto.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, settings, b.addr.Port()), 0o644); err != nil {
		return nil, err
	}
	b.cmd = exec.Command(path, "-c", file)
	b.cmd.Stderr = os.Stderr
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (Debian's package mosquitto has it)", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", b.addr.String())
		if err == nil {
			return b, conn.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, errors.Join(err, b.stop())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (b *broker) stop() error {
	err := b.cmd.Process.Kill()
	_ = b.cmd.Wait() // it says that it was killed
	return errors.Join(err, os.RemoveAll(b.dir))
}

// usage returns the broker's resident bytes and its seconds of processor time.
func (b *broker) usage() (rss int, cpu float64, err error) {
	proc := fmt.Sprintf("/proc/%d/", b.cmd.Process.Pid)
	statm, err := os.ReadFile(proc + "statm")
	if err != nil {
		return 0, 0, err
	}
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return 0, 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return pages * os.Getpagesize(), float64(user+system) / 100, errors.Join(err1, err2)
}

// publish sends the messages at QoS 1, one after another, as fast as they are acknowledged.
func (b *broker) publish(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	in := mqtt.NewReader(conn, 1<<16)
	call := func(p mqtt.Packet) error {
		frame, err := p.Append(nil, mqtt.V311)
		if err == nil {
			_, err = conn.Write(frame)
		}
		if err == nil {
			_, err = in.ReadPacket(mqtt.V311)
		}
		return err
	}
	if err := call(&mqtt.Connect{ClientID: "sender", CleanStart: true, KeepAlive: 60}); err != nil {
		return err
	}
	for i := range messages {
		payload := fmt.Appendf(nil, `{"id":"%d","data":"`, i+1)
		payload = append(payload, strings.Repeat("x", size-len(payload)-2)+`"}`...)
		if err := call(&mqtt.Publish{Topic: "inbox", QoS: mqtt.AtLeastOnce, PacketID: uint16(i + 1), Payload: payload}); err != nil {
			return err
		}
	}
	return nil
}
