package registry

import (
	"crypto/rand"
	"regexp"
	"strconv"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// Services, as credentials are filed under them. Those that end in ".app" name an app and verify nothing.
const (
	Native       = "native"        // key: a hash of the API key
	DeviceApp    = "device"        // app_key, app_secret
	UmengAndroid = "umeng.android" // appkey, app_master_secret
	UmengIOS     = "umeng.ios"
	UmengHarmony = "umeng.harmony"
	Getui        = "getui"      // app_key, master_secret; may be shared
	GetuiApp     = "getui.app"  // app_id, app_secret
	Aliyun       = "aliyun"     // access_key_id, access_key_secret; may be shared
	AliyunApp    = "aliyun.app" // app_key in decimal
	MPaaS        = "mpaas"      // access_key_id, access_key_secret; may be shared
	MPaaSApp     = "mpaas.app"  // app_id + "/" + workspace_id
	Baidu        = "baidu"      // api_key, secret_key
)

// A service says how its credential is found in push.Credentials, how it is made and what it looks like.
type service struct {
	name      string
	shared    bool                                          // several apps may have the same key
	rotates   bool                                          // RotateKeys knows it
	part      func(*push.Credentials) (key, secret *string) // secret nil: there is none
	newKey    func() string                                 // nil: the key is the hash of the secret
	newSecret func() string
	keyForm   *regexp.Regexp
	form      *regexp.Regexp // of the secret
	says      string         // what both look like, for error messages
}

const (
	hexDigits = "0123456789abcdef"
	lower     = "abcdefghijklmnopqrstuvwxyz0123456789"
	alnum     = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + lower
)

// What values look like that somebody brings along. Only Umeng says more than that they are short and visible.
var (
	visible  = regexp.MustCompile(`^[!-~]{1,128}$`)
	long     = regexp.MustCompile(`^[!-~]{16,128}$`)
	hex24    = regexp.MustCompile(`^[0-9a-fA-F]{24}$`)
	alnum32  = regexp.MustCompile(`^[0-9a-zA-Z]{32}$`)
	inSpace  = regexp.MustCompile(`^[!-.0-~]{1,64}/[!-.0-~]{1,63}$`) // an id and a workspace, without more slashes
	positive = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
)

// services returns every service. The parts that are not plain strings in push.Credentials, Aliyun's number and mPaaS's
// pair of id and workspace, are read and written through the scratch.
func services(x *scratch) []service {
	umeng := func(name string, of func(*push.Credentials) *push.UmengCredential) service {
		return service{
			name: name, rotates: true, newKey: chars(hexDigits, 24), newSecret: chars(lower, 32), keyForm: hex24, form: alnum32,
			says: "an appkey has 24 hex digits, its secret 32 letters and digits",
			part: func(c *push.Credentials) (*string, *string) { u := of(c); return &u.Appkey, &u.AppMasterSecret },
		}
	}
	plain := service{
		rotates: true, newKey: chars(lower, 24), newSecret: chars(alnum, 32), keyForm: visible, form: visible,
		says: "is 1 to 128 visible ASCII characters",
	}
	with := func(name string, shared bool, part func(*push.Credentials) (*string, *string)) service {
		s := plain
		s.name, s.shared, s.part = name, shared, part
		return s
	}
	native := with(Native, false, func(c *push.Credentials) (*string, *string) { return &x.native, &c.Native.APIKey })
	native.newKey, native.newSecret = nil, func() string { return "ck_" + chars(alnum, 40)() }
	native.form, native.says = long, "an API key has 16 to 128 visible ASCII characters"
	getui := with(Getui, true, func(c *push.Credentials) (*string, *string) { return &c.Getui.AppKey, &c.Getui.MasterSecret })
	getui.newKey, getui.newSecret = chars(alnum, 22), chars(alnum, 22)
	getuiApp := with(GetuiApp, false, func(c *push.Credentials) (*string, *string) { return &c.Getui.AppID, &c.Getui.AppSecret })
	getuiApp.newKey, getuiApp.newSecret, getuiApp.rotates = chars(alnum, 22), chars(alnum, 22), false
	aliyunApp := with(AliyunApp, false, func(*push.Credentials) (*string, *string) { return &x.aliyun, nil })
	aliyunApp.keyForm, aliyunApp.rotates, aliyunApp.says = positive, false, "is a positive number"
	aliyunApp.newKey = func() string { return chars("23456789", 1)() + chars("0123456789", 7)() }
	mpaasApp := with(MPaaSApp, false, func(*push.Credentials) (*string, *string) { return &x.mpaas, nil })
	mpaasApp.rotates, mpaasApp.keyForm, mpaasApp.says = false, inSpace, "id and workspace are 1 to 63 visible ASCII characters without slashes"
	mpaasApp.newKey = func() string { return "ONEX" + strings.ToUpper(chars(hexDigits, 12)()) + "/" + x.workspace }
	return []service{
		native,
		with(DeviceApp, false, func(c *push.Credentials) (*string, *string) { return &c.Device.AppKey, &c.Device.AppSecret }),
		umeng(UmengAndroid, func(c *push.Credentials) *push.UmengCredential { return &c.Umeng.Android }),
		umeng(UmengIOS, func(c *push.Credentials) *push.UmengCredential { return &c.Umeng.IOS }),
		umeng(UmengHarmony, func(c *push.Credentials) *push.UmengCredential { return &c.Umeng.Harmony }),
		getui, getuiApp, aliyunApp,
		with(Aliyun, true, func(c *push.Credentials) (*string, *string) { return &c.Aliyun.AccessKeyID, &c.Aliyun.AccessKeySecret }),
		mpaasApp,
		with(MPaaS, true, func(c *push.Credentials) (*string, *string) { return &c.MPaaS.AccessKeyID, &c.MPaaS.AccessKeySecret }),
		with(Baidu, false, func(c *push.Credentials) (*string, *string) { return &c.Baidu.APIKey, &c.Baidu.SecretKey }),
	}
}

// scratch holds the keys that push.Credentials holds in another form.
type scratch struct {
	native    string // hash of the API key
	aliyun    string // the number in decimal
	mpaas     string // id and workspace
	workspace string
}

// read takes from c what scratch holds.
func (x *scratch) read(c *push.Credentials) {
	if c.Aliyun.AppKey != 0 {
		x.aliyun = strconv.FormatInt(c.Aliyun.AppKey, 10)
	}
	if x.workspace = c.MPaaS.WorkspaceID; x.workspace == "" {
		x.workspace = "default"
	}
	if c.MPaaS.AppID != "" {
		x.mpaas = c.MPaaS.AppID + "/" + x.workspace
	}
}

// write puts into c what scratch holds.
func (x *scratch) write(c *push.Credentials) {
	c.Aliyun.AppKey, _ = strconv.ParseInt(x.aliyun, 10, 64) // keyForm has seen it
	if i := strings.LastIndexByte(x.mpaas, '/'); i >= 0 {
		c.MPaaS.AppID, c.MPaaS.WorkspaceID = x.mpaas[:i], x.mpaas[i+1:]
	}
}

// chars returns a function that draws n characters of an alphabet, each as likely as the others.
func chars(alphabet string, n int) func() string {
	return func() string {
		out := make([]byte, 0, n)
		fair := 256 - 256%len(alphabet) // bytes from here on would favour the alphabet's beginning
		var b [64]byte
		for len(out) < n {
			rand.Read(b[:]) // never fails: it stops the program instead
			for _, v := range b {
				if int(v) < fair && len(out) < n {
					out = append(out, alphabet[int(v)%len(alphabet)])
				}
			}
		}
		return string(out)
	}
}
