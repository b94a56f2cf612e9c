package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/template"

	"github.com/carillonpush/carillon/internal/push"
)

// demoName is the app that --demo creates.
const demoName = "demo"

// demo makes the app for trying things out, if it is missing, and prints what to paste.
func (s *Server) demo(ctx context.Context, out io.Writer) error {
	app, err := s.registry.FindApp(demoName)
	var card push.AppCard
	switch {
	case err == nil:
		card, err = s.registry.Card(app.ID)
	case errors.Is(err, push.NotFound):
		card, err = s.registry.CreateApp(ctx, push.App{Name: demoName}, push.Credentials{})
	}
	if err != nil {
		return fmt.Errorf("server: demo app: %w", err)
	}
	host, port := splitAddr(s.MQTTAddr())
	return cheatSheet.Execute(out, map[string]any{
		"HTTP": "http://" + s.HTTPAddr(), "Host": host, "Port": port, "Card": card, "Umeng": card.Umeng.Android,
		"Token": s.config.AdminTokenPath(), "Admin": s.AdminAddr(),
	})
}

var cheatSheet = template.Must(template.New("demo").Parse(`
Carillon is up. Paste the following into another terminal.

# 1. Register a device. Its answer has the device's id and secret.
D=$(curl -s {{.HTTP}}/device/v1/register -H 'Content-Type: application/json' -d '{"app_key":"{{.Card.Device.AppKey}}","app_secret":"{{.Card.Device.AppSecret}}","platform":"android","install_id":"'$(head -c16 /dev/urandom | od -An -tx1 | tr -d ' \n')'"}')
DEVICE=$(echo "$D" | sed 's/.*"device_id":"\([^"]*\)".*/\1/'); SECRET=$(echo "$D" | sed 's/.*"secret":"\([^"]*\)".*/\1/'); echo "$DEVICE"

# 2. Be that device, with any MQTT client (Debian: apt install mosquitto-clients). Add -V mqttv5 for MQTT 5.
mosquitto_sub -h {{.Host}} -p {{.Port}} -u "$DEVICE" -P "$SECRET" -t inbox -q 1 &

# 3. Send to it as an Umeng server SDK would: a signed unicast.
umeng() { curl -s "{{.HTTP}}/api/send?sign=$(printf 'POST%s%s%s' {{.HTTP}}/api/send "$1" {{.Umeng.AppMasterSecret}} | md5sum | cut -c1-32)" -d "$1"; echo; }
umeng '{"appkey":"{{.Umeng.Appkey}}","timestamp":"'$(date +%s)'","type":"unicast","device_tokens":"'$DEVICE'","payload":{"display_type":"notification","body":{"ticker":"你好","title":"Hello","text":"from an Umeng SDK","after_open":"go_app"}}}'

# 4. Send to every device of the app.
umeng '{"appkey":"{{.Umeng.Appkey}}","timestamp":"'$(date +%s)'","type":"broadcast","payload":{"display_type":"notification","body":{"ticker":"all","title":"To all","text":"one message, one bitmap","after_open":"go_app"}}}'

# 5. Send while the device is away; it appears when the device is back.
kill %1; wait 2>/dev/null
umeng '{"appkey":"{{.Umeng.Appkey}}","timestamp":"'$(date +%s)'","type":"unicast","device_tokens":"'$DEVICE'","payload":{"display_type":"notification","body":{"ticker":"later","title":"You were away","text":"but this waited","after_open":"go_app"}}}'
mosquitto_sub -h {{.Host}} -p {{.Port}} -u "$DEVICE" -P "$SECRET" -t inbox -q 1 -C 1

# Or with native REST; then look at what became of it.
curl -s {{.HTTP}}/v1/apps/demo/pushes -H 'Authorization: Bearer {{.Card.Native.APIKey}}' -H 'Content-Type: application/json' -d '{"audience":{"devices":["'$DEVICE'"]},"message":{"notification":{"title":"开门","body":"ready"}}}'
curl -s {{.HTTP}}/v1/apps/demo/pushes?limit=1 -H 'Authorization: Bearer {{.Card.Native.APIKey}}'

API documentation: {{.HTTP}}/docs    metrics: http://{{.Admin}}/metrics    admin token: {{.Token}}
`))
