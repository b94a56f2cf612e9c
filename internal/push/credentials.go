package push

// Credentials are what an app's senders and devices configure, one part a service. Empty fields of a request to create
// an app are filled with new values. They are secrets: they are shown to administrators only, and never logged.
type Credentials struct {
	Native NativeCredential `json:"native"`
	Device DeviceCredential `json:"device"`
	Umeng  UmengCredentials `json:"umeng"`
	Getui  GetuiCredential  `json:"getui"`
	Aliyun AliyunCredential `json:"aliyun"`
	MPaaS  MPaaSCredential  `json:"mpaas"`
	Baidu  BaiduCredential  `json:"baidu"`
}

// NativeCredential opens native REST for one app.
type NativeCredential struct {
	APIKey string `json:"api_key"`
}

// DeviceCredential is built into the app's clients, which register with it.
type DeviceCredential struct {
	AppKey    string `json:"app_key"`
	AppSecret string `json:"app_secret"`
}

// UmengCredentials are one pair a platform, since an Umeng app has one platform.
type UmengCredentials struct {
	Android UmengCredential `json:"android"`
	IOS     UmengCredential `json:"ios"`
	Harmony UmengCredential `json:"harmony"`
}

// UmengCredential is an appkey of 24 hex digits and a secret of 32 characters.
type UmengCredential struct {
	Appkey          string `json:"appkey"`
	AppMasterSecret string `json:"app_master_secret"`
}

// GetuiCredential serves both generations of Getui's API.
type GetuiCredential struct {
	AppID        string `json:"app_id"`
	AppKey       string `json:"app_key"`
	AppSecret    string `json:"app_secret"`
	MasterSecret string `json:"master_secret"`
}

// AliyunCredential is a number that names the app and an access key, which several apps may share.
type AliyunCredential struct {
	AppKey          int64  `json:"app_key"`
	AccessKeyID     string `json:"access_key_id"`
	AccessKeySecret string `json:"access_key_secret"`
}

// MPaaSCredential names the app and its workspace, and has an access key, which several apps may share.
type MPaaSCredential struct {
	AppID           string `json:"app_id"`
	WorkspaceID     string `json:"workspace_id"`
	AccessKeyID     string `json:"access_key_id"`
	AccessKeySecret string `json:"access_key_secret"`
}

// BaiduCredential is a pair of keys.
type BaiduCredential struct {
	APIKey    string `json:"api_key"`
	SecretKey string `json:"secret_key"`
}

// An AppCard is an app with all its credentials: what creating or showing an app answers.
type AppCard struct {
	App App `json:"app"`
	Credentials
}
