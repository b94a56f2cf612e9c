package push

// A Registration is what a device says of itself when it registers.
type Registration struct {
	AppKey     string            `json:"app_key"`
	AppSecret  string            `json:"app_secret"`
	Platform   Platform          `json:"platform"`
	InstallID  string            `json:"install_id"` // at least 128 random bits, made and kept by the device
	Attributes map[string]string `json:"attributes,omitempty"`
	Tokens     map[string]Token  `json:"tokens,omitempty"`

	// PreviousID is the id that the device had at another provider. If it was imported, the device becomes the imported one;
	// PreviousProof shows that it may: see Registry.Register.
	PreviousID    string `json:"previous_id,omitempty"`
	PreviousProof string `json:"previous_proof,omitempty"`
}

// Validate reports what is wrong with r, apart from its credentials.
func (r Registration) Validate() error {
	switch {
	case !r.Platform.Valid():
		return invalid("platform", "is android, ios, harmony or web")
	case len(r.InstallID) < MinInstallID || len(r.InstallID) > MaxInstallID:
		return invalid("install_id", "has 16 to 256 bytes: at least 128 random bits")
	case len(r.PreviousID) > MaxTarget || !text(r.PreviousID):
		return invalid("previous_id", "has at most 128 bytes of UTF-8, without NUL")
	case len(r.PreviousProof) > MaxTarget:
		return invalid("previous_proof", "has at most 128 bytes")
	}
	if err := ValidateAttributes(r.Attributes); err != nil {
		return err
	}
	return ValidateTokens(r.Tokens)
}

// Registered is what a device gets for registering. Secret is shown this once.
type Registered struct {
	DeviceID  DeviceID  `json:"device_id"`
	ChannelID ChannelID `json:"channel_id"`
	Secret    string    `json:"secret"`
	Adopted   bool      `json:"adopted,omitempty"` // whether it is the device of its previous_id
	Ref       Ref       `json:"-"`
}

// A DevicePatch changes what is known of a device. Nil fields stay. An attribute with value "", and a zero token, are
// removed.
type DevicePatch struct {
	Attributes  map[string]string `json:"attributes,omitempty"`
	Tokens      map[string]Token  `json:"tokens,omitempty"`
	Phone       *string           `json:"phone,omitempty"`
	Account     *string           `json:"account,omitempty"` // "" is a logout
	Network     *Network          `json:"network,omitempty"`
	Test        *bool             `json:"test,omitempty"`
	Blacklisted *bool             `json:"blacklisted,omitempty"`
	Badge       *int              `json:"badge,omitempty"`
}

// Validate reports what is wrong with p.
func (p DevicePatch) Validate() error {
	if err := ValidateAttributes(p.Attributes); err != nil {
		return err
	}
	if err := ValidateTokens(p.Tokens); err != nil {
		return err
	}
	switch {
	case p.Network != nil && *p.Network != "" && *p.Network != WiFi && *p.Network != Mobile:
		return invalid("network", "is wifi or mobile")
	case p.Badge != nil && (*p.Badge < 0 || *p.Badge > 99_999):
		return invalid("badge", "is 0 to 99999")
	case p.Account != nil && (len(*p.Account) > MaxAccount || !text(*p.Account)):
		return invalid("account", "is at most 128 bytes of UTF-8 without NUL")
	case p.Phone != nil:
		return ValidatePhone(*p.Phone)
	}
	return nil
}
