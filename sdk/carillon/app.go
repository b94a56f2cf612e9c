package carillon

import (
	"context"
	"net/http"
	"time"
)

// An App is one product, with devices of any platform.
type App struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	TimeZone string            `json:"time_zone"` // IANA name
	Packages map[string]string `json:"packages"`  // package or bundle name by platform
	Settings map[string]string `json:"settings"`  // those that differ from their default
	Created  time.Time         `json:"created"`
}

// NewApp makes an app. Only Name is needed; credentials that are left out are made up by the server.
type NewApp struct {
	Name     string            `json:"name"`
	TimeZone string            `json:"time_zone,omitempty"`
	Packages map[string]string `json:"packages,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	Credentials
}

// An AppPatch changes an app. Nil fields stay; a setting that is nil goes back to its default, and a package "" goes away.
type AppPatch struct {
	Name     *string            `json:"name,omitempty"`
	TimeZone *string            `json:"time_zone,omitempty"`
	Packages map[string]string  `json:"packages,omitempty"`
	Settings map[string]*string `json:"settings,omitempty"`
}

// Credentials are what an app's senders and devices configure, one part a service. They are secrets.
type Credentials struct {
	Native NativeCredential `json:"native,omitzero"`
	Device DeviceCredential `json:"device,omitzero"`
	Umeng  UmengCredentials `json:"umeng,omitzero"`
	Getui  GetuiCredential  `json:"getui,omitzero"`
	Aliyun AliyunCredential `json:"aliyun,omitzero"`
	MPaaS  MPaaSCredential  `json:"mpaas,omitzero"`
	Baidu  BaiduCredential  `json:"baidu,omitzero"`
}

// A NativeCredential opens this API for one app.
type NativeCredential struct {
	APIKey string `json:"api_key,omitempty"`
}

// A DeviceCredential is built into the app's clients, which register with it.
type DeviceCredential struct {
	AppKey    string `json:"app_key,omitempty"`
	AppSecret string `json:"app_secret,omitempty"`
}

// UmengCredentials are one pair a platform, since an Umeng app has one platform.
type UmengCredentials struct {
	Android UmengCredential `json:"android,omitzero"`
	IOS     UmengCredential `json:"ios,omitzero"`
	Harmony UmengCredential `json:"harmony,omitzero"`
}

// An UmengCredential is an appkey of 24 hex digits and a secret of 32 characters.
type UmengCredential struct {
	Appkey          string `json:"appkey,omitempty"`
	AppMasterSecret string `json:"app_master_secret,omitempty"`
}

// A GetuiCredential serves both generations of Getui's API.
type GetuiCredential struct {
	AppID        string `json:"app_id,omitempty"`
	AppKey       string `json:"app_key,omitempty"`
	AppSecret    string `json:"app_secret,omitempty"`
	MasterSecret string `json:"master_secret,omitempty"`
}

// An AliyunCredential is a number that names the app, and an access key, which several apps may share.
type AliyunCredential struct {
	AppKey          int64  `json:"app_key,omitempty"`
	AccessKeyID     string `json:"access_key_id,omitempty"`
	AccessKeySecret string `json:"access_key_secret,omitempty"`
}

// An MPaaSCredential names the app and its workspace, and has an access key, which several apps may share.
type MPaaSCredential struct {
	AppID           string `json:"app_id,omitempty"`
	WorkspaceID     string `json:"workspace_id,omitempty"`
	AccessKeyID     string `json:"access_key_id,omitempty"`
	AccessKeySecret string `json:"access_key_secret,omitempty"`
}

// A BaiduCredential is a pair of keys.
type BaiduCredential struct {
	APIKey    string `json:"api_key,omitempty"`
	SecretKey string `json:"secret_key,omitempty"`
}

// An AppCard is an app with all its credentials.
type AppCard struct {
	App App `json:"app"`
	Credentials
}

// CreateApp makes an app and returns its card. It needs the admin token, like every call for apps.
func (c *Client) CreateApp(ctx context.Context, app NewApp) (card AppCard, err error) {
	err = c.Call(ctx, http.MethodPost, "/v1/apps", app, &card, nil)
	return card, err
}

// ListApps returns one page of all apps, without credentials.
func (c *Client) ListApps(ctx context.Context, page Page) (list List[App], err error) {
	err = c.Call(ctx, http.MethodGet, "/v1/apps", nil, &list, page.options())
	return list, err
}

// ShowApp returns an app's card.
func (c *Client) ShowApp(ctx context.Context, app string) (card AppCard, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app), nil, &card, nil)
	return card, err
}

// PatchApp changes an app and returns it as it is then.
func (c *Client) PatchApp(ctx context.Context, app string, patch AppPatch) (changed App, err error) {
	err = c.Call(ctx, http.MethodPatch, appPath(app), patch, &changed, nil)
	return changed, err
}

// RotateKeys replaces the credentials of one kind, "native" or "umeng.android" and so on; the old ones stay valid for 24
// hours. It returns the card with the new ones.
func (c *Client) RotateKeys(ctx context.Context, app, kind string) (card AppCard, err error) {
	body := struct {
		Kind string `json:"kind"`
	}{kind}
	err = c.Call(ctx, http.MethodPost, appPath(app, "rotate-keys"), body, &card, nil)
	return card, err
}

// DeleteApp removes an app, its credentials, its devices and its pushes. There is no way back.
func (c *Client) DeleteApp(ctx context.Context, app string) error {
	return c.Call(ctx, http.MethodDelete, appPath(app), nil, nil, nil)
}
