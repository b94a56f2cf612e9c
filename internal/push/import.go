package push

// An Import is a device that is moved here from another provider, as a line of a file or a member of a request says it.
// What is left out stays as it is, if the device was imported before.
type Import struct {
	PreviousID string            `json:"device_id"` // the device's id at the other provider, 1 to MaxTarget bytes
	Platform   Platform          `json:"platform,omitempty"`
	Account    string            `json:"account,omitempty"`
	Phone      string            `json:"phone,omitempty"`
	Tags       []string          `json:"tags,omitempty"`
	Aliases    []Alias           `json:"aliases,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Tokens     map[string]Token  `json:"tokens,omitempty"`
	Test       *bool             `json:"test,omitempty"`
}

// Validate reports what is wrong with i. A Platform that is missing means Android for a device that is new.
func (i Import) Validate() error {
	if i.PreviousID == "" || len(i.PreviousID) > MaxTarget || !text(i.PreviousID) {
		return invalid("device_id", "has 1 to 128 bytes of UTF-8, without NUL")
	}
	if i.Platform != 0 && !i.Platform.Valid() {
		return invalid("platform", "is android, ios, harmony or web")
	}
	patch := DevicePatch{Attributes: i.Attributes, Tokens: i.Tokens, Phone: &i.Phone, Account: &i.Account}
	if err := patch.Validate(); err != nil {
		return err
	}
	return LabelEdit{Op: Add, Tags: i.Tags, Aliases: i.Aliases}.Validate()
}

// MaxImports is how many devices one call imports, in one commit.
const MaxImports = 1000

// An Imported is what became of one Import.
type Imported struct {
	Device DeviceID `json:"device_id,omitempty"` // its id here; "" if it failed
	Added  bool     `json:"added,omitempty"`     // false: it was imported before, and changed
	Err    error    `json:"-"`
}

// A Previous is the id that a device had at another provider.
type Previous struct {
	ID      string
	Ordinal Ordinal
}

// A DeviceChange is all that one commit changes of devices. Rows are whole: what they say replaces what the record knows.
type DeviceChange struct {
	App      AppID
	Add      []DeviceRow // new devices
	Save     []DeviceRow // known devices
	Tags     []Tag       // new tags
	Aliases  []AliasEdit // done in order, after the rows
	Limits   AliasLimits
	Previous []Previous // ids of devices among Add
	What     string     // names the change for the feed
	Today    Day        // in the app's time zone: the day under which new and removed devices are counted; 0 counts none
}
