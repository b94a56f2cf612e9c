package repotest

// modulePath is the path of this module.
const modulePath = "github.com/carillonpush/carillon"

// generated names the folders that a build, a run, npm or git makes: by path, or by a name that ends in / wherever it is.
var generated = []string{".git", "bin", "carillon-data", "bench/out", "node_modules/"}

// A Room is one package, or all packages that a pattern matches, and what of this module it may import. A pattern is a
// path, or one that ends in /... and then means the folder and all below it.
type Room struct {
	Package string
	May     []string // patterns; none means nothing of this module
}

// everything is the pattern of all packages.
const everything = "..."

// Rooms is the import table: imports run downwards only. The first row that matches a package holds. Files named
// _test.go may import more, because suites and harnesses live in rooms of their own; but no file may import cmd.
var Rooms = []Room{
	// The binary, and the one place that puts everything together.
	{"cmd/carillon", []string{"internal/server", "internal/config", "sdk/..."}},
	{"internal/server", []string{"internal/...", "sdk/..."}},
	{"internal/config", []string{ // the packages whose section it fills
		"internal/push", "internal/identity", "internal/registry", "internal/dispatch", "internal/report",
		"internal/gateway", "internal/channel/...", "internal/facade/...", "internal/restserver", "internal/console",
		"internal/sqlstore", "internal/jobs", "internal/cluster",
	}},

	// The domain, and what stands directly on it.
	{"internal/push", nil},
	{"internal/identity", []string{"internal/push"}},
	{"internal/ordset", []string{"internal/push"}},
	{"internal/audience", []string{"internal/push", "internal/ordset"}},
	{"internal/registry", []string{"internal/push", "internal/ordset", "internal/audience", "internal/identity"}},
	{"internal/agenda", nil},
	{"internal/live", []string{"internal/push", "internal/ordset"}},
	{"internal/admission", []string{"internal/push", "internal/ordset"}},
	{"internal/dispatch", []string{"internal/push", "internal/ordset", "internal/live", "internal/agenda"}},
	{"internal/schedule", []string{"internal/push", "internal/agenda"}},
	{"internal/webhook", []string{"internal/push"}},
	{"internal/report", []string{"internal/push", "internal/ordset"}},

	// The ways in.
	{"internal/facade", []string{"internal/push"}},
	{"internal/facade/umengserver", []string{"internal/push", "internal/facade", "sdk/umeng"}},
	{"internal/facade/getuiserver", []string{"internal/push", "internal/facade", "sdk/getui"}},
	{"internal/facade/aliyunserver", []string{"internal/push", "internal/facade", "sdk/aliyun", "sdk/alirpc"}},
	{"internal/facade/mpaasserver", []string{"internal/push", "internal/facade", "sdk/mpaas", "sdk/alirpc"}},
	{"internal/facade/baiduserver", []string{"internal/push", "internal/facade", "sdk/baidu"}},
	{"internal/restserver", []string{"internal/push"}},
	{"internal/console", []string{"internal/push"}},

	// The ways out.
	{"internal/mqtt", nil},
	{"internal/gateway", []string{"internal/push", "internal/ordset", "internal/mqtt"}},
	{"internal/channel", []string{"internal/push"}},
	{"internal/channel/channeltest", []string{"internal/push", "internal/channel"}},
	{"internal/channel/sms", []string{"internal/push", "internal/channel", "sdk/alirpc"}},
	{"internal/channel/...", []string{"internal/push", "internal/channel"}},

	// What keeps and carries. A suite may see the ports that it holds implementations against.
	{"internal/sqlstore", []string{"internal/push", "internal/ordset"}},
	{"internal/sqlstore/storetest", []string{
		"internal/push", "internal/ordset", "internal/sqlstore", "internal/dispatch", "internal/registry", "internal/report",
		"internal/schedule", "internal/admission", "internal/webhook",
	}},
	{"internal/jobs", []string{"internal/push"}},
	{"internal/cluster", []string{"internal/push"}},

	// What other people import. Only the two that speak MQTT see anything internal, and of that the codec only.
	{"sdk/alirpc", nil},
	{"sdk/umeng", nil},
	{"sdk/getui", nil},
	{"sdk/baidu", nil},
	{"sdk/aliyun", []string{"sdk/alirpc"}},
	{"sdk/mpaas", []string{"sdk/alirpc"}},
	{"sdk/carillon", []string{"internal/mqtt"}},
	{"sdk/device", []string{"internal/mqtt"}},

	// What tests and measures.
	{"internal/repotest", nil},
	{"internal/testpg", nil},
	{"conformance/...", []string{"internal/server", "sdk/...", "conformance/..."}},
	{"bench/...", []string{everything}},
}

// An Owner is a package outside this module, with all below it, that only some rooms may import.
type Owner struct {
	Import string
	Rooms  []string // patterns
}

// Owners says who may import what a decision confines to one room.
var Owners = []Owner{
	{"database/sql", []string{"internal/sqlstore", "internal/jobs", "internal/testpg", "bench/audience"}},
	{"modernc.org/sqlite", []string{"internal/sqlstore", "internal/jobs", "internal/testpg", "bench/audience"}},
	{"github.com/jackc/pgx", []string{"internal/sqlstore", "internal/jobs", "internal/testpg", "bench/audience"}},
	{"github.com/riverqueue/river", []string{"internal/jobs"}},
	{"github.com/nats-io", []string{"internal/cluster"}},
	{"github.com/RoaringBitmap/roaring", []string{"internal/ordset"}},
}

// Budgets: more than this is refused.
const (
	maxFileLines     = 600
	maxTestFileLines = 900
	maxFuncLines     = 100
	maxMethods       = 5
	maxParams        = 3 // of a constructor, before its options
	maxFields        = 15
)

// An Exemption lets one thing be over a budget.
type Exemption struct {
	What   string // "internal/push/message.go" or "internal/push.Notification"
	Reason string
}

// Exemptions from the budgets. One that is not needed any more is a problem itself. Structs have three exemptions
// more, because their fields are given from outside: those in internal/config, those in files named wire.go,
// …wire.go or …_json.go, and those of sdk packages that have field tags.
var Exemptions = []Exemption{
	{"internal/mqtt.Properties", "the properties that the MQTT 5.0 standard lists, one field each"},
	{"sdk/umeng.SendRequest", "the parameters of Umeng's send call, one field each"},
}

// Public are the patterns of the packages whose exported things must all have a comment.
var Public = []string{"internal/push", "sdk/..."}

// WorkplaceWords must not appear in any file: they name places on the machines that the project is made on. (Put
// together here, so that this file may be searched too.)
var WorkplaceWords = []string{"/wo" + "rk/", ".libr" + "ary"}
