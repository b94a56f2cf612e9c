package mqtt_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// A vector is one entry of a file in testdata; packets.txt explains the form.
type vector struct {
	name    string
	version mqtt.Version
	frame   []byte
	key     string // "packet", "reads" or "error"
	want    string
}

// readVectors reads a file of testdata and refuses lines that it does not understand.
func readVectors(tb testing.TB, file string) []vector {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	var vectors []vector
	for _, block := range strings.Split("\n"+string(text), "\n== ")[1:] {
		name, body, _ := strings.Cut(block, "\n")
		v := vector{name: name}
		digits := ""
		for line := range strings.Lines(body) {
			key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
			switch {
			case strings.HasPrefix(line, " "):
				value, ok = strings.TrimRight(line, "\n"), true
				fallthrough
			case key == "hex":
				value, _, _ = strings.Cut(value, "#")
				digits += strings.ReplaceAll(value, " ", "")
			case key == "version":
				n, err := strconv.Atoi(strings.TrimSpace(value))
				if err != nil {
					tb.Fatalf("%s: %q: %v", file, name, err)
				}
				v.version = mqtt.Version(n)
			case key == "packet" || key == "reads" || key == "error":
				v.key, v.want = key, strings.TrimSpace(value)
			case ok || strings.TrimSpace(line) != "":
				tb.Fatalf("%s: %q: line not understood: %q", file, name, line)
			}
		}
		if v.frame, err = hex.DecodeString(digits); err != nil || v.want == "" {
			tb.Fatalf("%s: %q: bad vector: %v", file, name, err)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

func TestPackets(t *testing.T) {
	type kind struct {
		version mqtt.Version
		packet  mqtt.Type
	}
	seen := map[kind]bool{}
	for _, v := range readVectors(t, "packets.txt") {
		t.Run(v.name, func(t *testing.T) {
			p, err := mqtt.Decode(v.version, v.frame)
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			seen[kind{v.version, p.PacketType()}] = true
			if got := summary(reflect.ValueOf(p).Elem(), true); got != v.want {
				t.Errorf("Decode\n got %s\nwant %s", got, v.want)
			}
			got, err := p.Append([]byte("kept"), v.version)
			if err != nil {
				t.Fatalf("Append: %v", err)
			}
			if v.key == "packet" && !bytes.Equal(got, append([]byte("kept"), v.frame...)) {
				t.Errorf("Append\n got %x\nwant %x", got[4:], v.frame)
			}
			again, err := mqtt.Decode(v.version, got[4:])
			if err != nil || !reflect.DeepEqual(again, p) {
				t.Errorf("Decode of what Append wrote = %+v, %v; want %+v", again, err, p)
			}
		})
	}
	for packet := mqtt.TypeConnect; packet <= mqtt.TypeAuth; packet++ {
		for _, version := range []mqtt.Version{mqtt.V311, mqtt.V5} {
			exists := packet != mqtt.TypeAuth || version == mqtt.V5
			if got := seen[kind{version, packet}]; got != exists {
				t.Errorf("a vector for %v in %v: got %v, want %v", packet, version, got, exists)
			}
		}
	}
}

func TestMalformedPackets(t *testing.T) {
	for _, v := range readVectors(t, "malformed.txt") {
		t.Run(v.name, func(t *testing.T) {
			p, err := mqtt.Decode(v.version, v.frame)
			if err == nil {
				t.Fatalf("Decode accepted it as %+v", p)
			}
			if p != nil {
				t.Errorf("Decode returned a packet with its error: %+v", p)
			}
			if got := fmt.Sprintf("0x%02x", byte(mqtt.ReasonOf(err))); got != v.want {
				t.Errorf("Decode: got %s (%v), want %s", got, err, v.want)
			}
		})
	}
}

// summary writes the fields of a struct that are not zero, as packets.txt has them.
func summary(v reflect.Value, named bool) string {
	var fields []string
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case field.IsZero():
		case field.Kind() == reflect.Bool:
			fields = append(fields, name)
		default:
			fields = append(fields, name+":"+valueText(field))
		}
	}
	text := "{" + strings.Join(fields, " ") + "}"
	if named {
		return v.Type().Name() + text
	}
	return text
}

func valueText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case string, []byte:
		return fmt.Sprintf("%q", x)
	case mqtt.ReasonCode:
		return fmt.Sprintf("0x%02x", byte(x))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return valueText(v.Elem())
	case reflect.Struct:
		if value := v.FieldByName("Value"); value.IsValid() && v.FieldByName("Set").IsValid() {
			return fmt.Sprint(value.Interface())
		}
		return summary(v, false)
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, valueText(v.Index(i)))
		}
		return "[" + strings.Join(items, " ") + "]"
	}
	return fmt.Sprint(v.Interface())
}
