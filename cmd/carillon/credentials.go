package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// credentialFlags take an app's credentials over from the service that its senders use now.
type credentialFlags struct {
	Credentials string `name:"credentials" placeholder:"FILE" group:"Credentials" help:"A file in the form that app show --json prints; the flags below go before it."`

	Native  nativeFlags `embed:"" prefix:"native-" group:"Credentials"`
	Device  deviceFlags `embed:"" prefix:"device-" group:"Credentials"`
	Android umengFlags  `embed:"" prefix:"umeng-android-" group:"Credentials"`
	IOS     umengFlags  `embed:"" prefix:"umeng-ios-" group:"Credentials"`
	Harmony umengFlags  `embed:"" prefix:"umeng-harmony-" group:"Credentials"`
	Getui   getuiFlags  `embed:"" prefix:"getui-" group:"Credentials"`
	Aliyun  aliyunFlags `embed:"" prefix:"aliyun-" group:"Credentials"`
	MPaaS   mpaasFlags  `embed:"" prefix:"mpaas-" group:"Credentials"`
	Baidu   baiduFlags  `embed:"" prefix:"baidu-" group:"Credentials"`
}

// What one service's senders are configured with. A secret may be in the environment, or in a file that it names.
type (
	nativeFlags struct {
		APIKey string `name:"api-key" setting:"env" secret:"" placeholder:"KEY" help:"Key of native REST."`
	}
	deviceFlags struct {
		AppKey    string `name:"app-key" setting:"env" placeholder:"KEY" help:"Key that devices register with."`
		AppSecret string `name:"app-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Its secret."`
	}
	umengFlags struct {
		Appkey          string `name:"appkey" setting:"env" placeholder:"KEY" help:"Umeng appkey of this platform, 24 hex digits."`
		AppMasterSecret string `name:"app-master-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Its app_master_secret."`
	}
	getuiFlags struct {
		AppID        string `name:"app-id" setting:"env" placeholder:"ID" help:"Getui app id."`
		AppKey       string `name:"app-key" setting:"env" placeholder:"KEY" help:"Getui app key."`
		AppSecret    string `name:"app-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Getui app secret."`
		MasterSecret string `name:"master-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Getui master secret."`
	}
	aliyunFlags struct {
		AppKey          int64  `name:"app-key" setting:"env" placeholder:"N" help:"Alibaba Cloud Mobile Push app key, a number."`
		AccessKeyID     string `name:"access-key-id" setting:"env" placeholder:"ID" help:"Access key."`
		AccessKeySecret string `name:"access-key-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Its secret."`
	}
	mpaasFlags struct {
		AppID           string `name:"app-id" setting:"env" placeholder:"ID" help:"mPaaS app id."`
		WorkspaceID     string `name:"workspace-id" setting:"env" placeholder:"ID" help:"mPaaS workspace."`
		AccessKeyID     string `name:"access-key-id" setting:"env" placeholder:"ID" help:"Access key."`
		AccessKeySecret string `name:"access-key-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Its secret."`
	}
	baiduFlags struct {
		APIKey    string `name:"api-key" setting:"env" placeholder:"KEY" help:"Baidu api key."`
		SecretKey string `name:"secret-key" setting:"env" secret:"" placeholder:"SECRET" help:"Its secret."`
	}
)

// credentials returns what file and flags give; a flag goes before the file.
func (f *credentialFlags) credentials() (carillon.Credentials, error) {
	var c carillon.Credentials
	if f.Credentials != "" {
		b, err := os.ReadFile(f.Credentials)
		if err != nil {
			return c, fmt.Errorf("--credentials: %w", err)
		}
		var card struct {
			App json.RawMessage `json:"app"` // as app show prints it; not used
			carillon.Credentials
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&card); err != nil {
			return c, usage("--credentials: %s: %w", f.Credentials, err)
		}
		c = card.Credentials
	}
	over(&c.Native.APIKey, f.Native.APIKey)
	over(&c.Device.AppKey, f.Device.AppKey)
	over(&c.Device.AppSecret, f.Device.AppSecret)
	for _, u := range []struct {
		to   *carillon.UmengCredential
		from umengFlags
	}{{&c.Umeng.Android, f.Android}, {&c.Umeng.IOS, f.IOS}, {&c.Umeng.Harmony, f.Harmony}} {
		over(&u.to.Appkey, u.from.Appkey)
		over(&u.to.AppMasterSecret, u.from.AppMasterSecret)
	}
	over(&c.Getui.AppID, f.Getui.AppID)
	over(&c.Getui.AppKey, f.Getui.AppKey)
	over(&c.Getui.AppSecret, f.Getui.AppSecret)
	over(&c.Getui.MasterSecret, f.Getui.MasterSecret)
	over(&c.Aliyun.AppKey, f.Aliyun.AppKey)
	over(&c.Aliyun.AccessKeyID, f.Aliyun.AccessKeyID)
	over(&c.Aliyun.AccessKeySecret, f.Aliyun.AccessKeySecret)
	over(&c.MPaaS.AppID, f.MPaaS.AppID)
	over(&c.MPaaS.WorkspaceID, f.MPaaS.WorkspaceID)
	over(&c.MPaaS.AccessKeyID, f.MPaaS.AccessKeyID)
	over(&c.MPaaS.AccessKeySecret, f.MPaaS.AccessKeySecret)
	over(&c.Baidu.APIKey, f.Baidu.APIKey)
	over(&c.Baidu.SecretKey, f.Baidu.SecretKey)
	return c, nil
}

// over puts v in place of *to unless it is zero.
func over[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

// printApp prints what there is of an app without its credentials.
func printApp(s *streams, a carillon.App) error {
	w := newTable(s.Out)
	w.row("id", a.ID)
	w.row("name", a.Name)
	w.row("time_zone", a.TimeZone)
	for _, p := range []string{"android", "ios", "harmony"} {
		if a.Packages[p] != "" {
			w.row("package."+p, a.Packages[p])
		}
	}
	for _, k := range sortedKeys(a.Settings) {
		w.row(k, a.Settings[k])
	}
	return w.flush()
}

// printCard prints an app with its credentials.
func printCard(s *streams, api *caller, card carillon.AppCard, asJSON bool) error {
	if asJSON {
		return printJSON(s.Out, api.answer)
	}
	if err := printApp(s, card.App); err != nil {
		return err
	}
	w := newTable(s.Out)
	aliyunKey := ""
	if card.Aliyun.AppKey != 0 {
		aliyunKey = fmt.Sprint(card.Aliyun.AppKey)
	}
	w.row("")
	for _, f := range [][2]string{
		{"native.api_key", card.Native.APIKey},
		{"device.app_key", card.Device.AppKey},
		{"device.app_secret", card.Device.AppSecret},
		{"umeng.android.appkey", card.Umeng.Android.Appkey},
		{"umeng.android.app_master_secret", card.Umeng.Android.AppMasterSecret},
		{"umeng.ios.appkey", card.Umeng.IOS.Appkey},
		{"umeng.ios.app_master_secret", card.Umeng.IOS.AppMasterSecret},
		{"umeng.harmony.appkey", card.Umeng.Harmony.Appkey},
		{"umeng.harmony.app_master_secret", card.Umeng.Harmony.AppMasterSecret},
		{"getui.app_id", card.Getui.AppID},
		{"getui.app_key", card.Getui.AppKey},
		{"getui.app_secret", card.Getui.AppSecret},
		{"getui.master_secret", card.Getui.MasterSecret},
		{"aliyun.app_key", aliyunKey},
		{"aliyun.access_key_id", card.Aliyun.AccessKeyID},
		{"aliyun.access_key_secret", card.Aliyun.AccessKeySecret},
		{"mpaas.app_id", card.MPaaS.AppID},
		{"mpaas.workspace_id", card.MPaaS.WorkspaceID},
		{"mpaas.access_key_id", card.MPaaS.AccessKeyID},
		{"mpaas.access_key_secret", card.MPaaS.AccessKeySecret},
		{"baidu.api_key", card.Baidu.APIKey},
		{"baidu.secret_key", card.Baidu.SecretKey},
	} {
		if f[1] != "" {
			w.row(f[0], f[1])
		}
	}
	return w.flush()
}
