package umengserver

import (
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// usesOf returns the quotas that a send to platform is counted under (section 8): each appkey has its own. Single messages
// have none, and in test mode nothing has.
func usesOf(platform push.Platform, in *umeng.SendRequest) []push.Use {
	if in.ProductionMode == umeng.False {
		return nil
	}
	use := push.Use{Credential: Origin + "." + platform.String()}
	switch in.Type {
	case umeng.TypeBroadcast:
		use.Setting = "umeng.broadcasts_per_day"
	case umeng.TypeGroupcast:
		use.Setting = "umeng.groupcasts_per_minute"
	case umeng.TypeFilecast:
		use.Setting = "umeng.file_sends_per_hour"
	case umeng.TypeCustomizedcast:
		if in.FileID == "" {
			return nil
		}
		use.Setting = "umeng.file_sends_per_hour"
	default:
		return nil
	}
	return []push.Use{use}
}
