package umeng

import (
	"strings"
	"time"
	"unicode"
)

// ValidateOptions change what a valid send is. The zero value, like nil, is the service's documented behaviour.
type ValidateOptions struct {
	// OptionalTicker accepts Android notifications without ticker, as documentation of generation C does.
	OptionalTicker bool
	// PayloadLimit is in bytes, see Payload.Size; 0 means the platform's own limit.
	PayloadLimit int
	// Location is the zone of the policy's times; nil means Beijing.
	Location *time.Location
}

// Validate reports the first fault of r as an *Error, in the order of protocols/umeng.md section 13 steps 5 to 9, or nil. It
// is the sequence of the five methods below, which a server may call one by one to put checks of its own between them.
// The grammar of a groupcast's filter is not checked. opts may be nil.
func (r *SendRequest) Validate(p Platform, now time.Time, opts *ValidateOptions) error {
	if err := r.ValidateShape(); err != nil {
		return err
	}
	if err := r.ValidateTarget(p); err != nil {
		return err
	}
	if err := r.ValidatePayload(p, opts); err != nil {
		return err
	}
	if err := r.ValidateFlags(p); err != nil {
		return err
	}
	return r.ValidatePolicy(p, now, opts)
}

// ValidateShape checks that type and payload are there and that policy is an object (step 5). Fields that cannot be read and
// have no code of their own come last, with CodeJSON.
func (r *SendRequest) ValidateShape() error {
	switch {
	case r.Type == "" && !r.bad("type"):
		return NewError(CodeNoType, "type")
	case !r.Type.known():
		return NewError(CodeType, "type")
	case r.Payload == nil:
		return NewError(CodePayload, "payload")
	}
	for _, path := range []string{
		"policy", "policy.out_biz_no", "policy.apns_collapse_id", "policy.channel_strategy", "policy.channel_strategy.default",
		"policy.in_app", "policy.uapp_arg",
	} {
		if r.bad(path) {
			return NewError(CodePolicy, path)
		}
	}
	if p := r.Policy; p != nil {
		switch {
		case p.ChannelStrategy < 0 || p.ChannelStrategy > 4:
			return NewError(CodePolicy, "policy.channel_strategy.default")
		case !p.NotificationClosedFilter.Valid():
			return NewError(CodePolicy, "policy.notification_closed_filter")
		case !p.InApp.Valid():
			return NewError(CodePolicy, "policy.in_app.in_app")
		}
	}
	for _, path := range []string{
		"group_id", "description", "mi_activity", "channel_properties", "local_properties", "category", "callback_params",
		"receipt_url", "receipt_type", "template_name",
	} {
		if r.bad(path) {
			return NewError(CodeJSON, path)
		}
	}
	return nil
}

// ValidateTarget checks that the type's own fields name an audience (step 6). Whether a file exists is the server's to say.
func (r *SendRequest) ValidateTarget(p Platform) error {
	switch r.Type {
	case TypeUnicast, TypeListcast:
		return r.validateTokens(p)
	case TypeCustomizedcast:
		switch {
		case r.AliasType == "":
			return NewError(CodeNoAliasType, "alias_type")
		case len(r.Aliases) == 0 && r.FileID == "":
			return NewError(CodeNoAlias, "alias")
		case len(r.Aliases) > 0 && r.FileID != "":
			return NewError(CodeAliasAndFile, "alias")
		case len(r.Aliases) > MaxAliases:
			return NewError(CodeTooManyAliases, "alias")
		}
	case TypeFilecast:
		if r.FileID == "" {
			return NewError(CodeNoFileID, "file_id")
		}
	case TypeGroupcast:
		byGroup := r.GroupID != "" && p != IOS
		if o, _ := parseObject(r.Filter); len(o) == 0 && !byGroup {
			return NewError(CodeNoFilter, "filter")
		}
	case TypeBroadcast: // everybody
	}
	return nil
}

func (r *SendRequest) validateTokens(p Platform) error {
	const field = "device_tokens"
	limit := MaxTokens
	if r.Type == TypeUnicast {
		limit = 1
	}
	switch {
	case len(r.DeviceTokens) == 0:
		return NewError(CodeNoDeviceTokens, field)
	case len(r.DeviceTokens) > limit:
		return NewError(CodeTooManyTokens, field)
	}
	// Any shape will do, so that development setups may use short fake tokens; unknown tokens reach nobody. But a token is
	// one word of text.
	for _, token := range r.DeviceTokens {
		if len(token) > MaxTokenLength || strings.ContainsFunc(token, notOfToken) {
			if p == IOS {
				return NewError(CodeIOSToken, field)
			}
			return NewError(CodeToken, field)
		}
	}
	return nil
}

func notOfToken(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// ValidatePayload checks what the platform's devices will get, and its size (step 7). Keys of another platform are ignored.
func (r *SendRequest) ValidatePayload(p Platform, opts *ValidateOptions) error {
	if r.Payload == nil {
		return NewError(CodePayload, "payload")
	}
	if opts == nil {
		opts = new(ValidateOptions)
	}
	var err error
	if p == IOS {
		err = r.validateAPS()
	} else {
		err = r.validateBody(p, opts)
	}
	if err != nil {
		return err
	}
	limit := opts.PayloadLimit
	if limit <= 0 {
		limit = p.PayloadLimit()
	}
	switch size, err := r.Payload.Size(); {
	case err != nil:
		return NewError(CodePayload, "payload")
	case size > limit:
		return NewError(CodePayloadTooLong, "payload")
	}
	return nil
}

func (r *SendRequest) validateAPS() error {
	switch a := r.Payload.APS; {
	case a == nil:
		return NewError(CodeNoAPS, "payload.aps")
	case r.bad("payload.aps.alert"):
		return NewError(CodeAlert, "payload.aps.alert")
	case a.Alert == nil && !a.ContentAvailable:
		return NewError(CodeNoAlert, "payload.aps.alert")
	}
	for _, key := range []string{"d", "p"} {
		if _, ok := r.Payload.Custom[key]; ok {
			return NewError(CodeReservedKey, "payload."+key)
		}
	}
	return nil
}

func (r *SendRequest) validateBody(p Platform, opts *ValidateOptions) error {
	pl := r.Payload
	switch {
	case pl.DisplayType == "" && !r.bad("payload.display_type"):
		return NewError(CodeNoDisplayType, "payload.display_type")
	case pl.DisplayType == DisplayScene && p == Harmony && r.Type == TypeUnicast:
		if o, _ := parseObject(pl.ChannelsBody); len(o) == 0 {
			return NewError(CodeBody, "payload.channels_body")
		}
		return nil
	case pl.DisplayType != DisplayNotification && pl.DisplayType != DisplayMessage:
		return NewError(CodeDisplayType, "payload.display_type")
	case pl.Body == nil:
		return NewError(CodeBody, "payload.body")
	case pl.DisplayType == DisplayMessage && len(pl.Body.Custom) == 0:
		return NewError(CodeNoCustom, "payload.body.custom")
	case pl.DisplayType == DisplayNotification:
		if err := r.validateNotification(p, opts); err != nil {
			return err
		}
	}
	if r.bad("payload.extra") {
		return NewError(CodeExtra, "payload.extra")
	}
	return nil
}

func (r *SendRequest) validateNotification(p Platform, opts *ValidateOptions) error {
	const body = "payload.body."
	b := r.Payload.Body
	tickerNeeded := p == Android && !opts.OptionalTicker
	switch {
	case b.Ticker == "" && tickerNeeded || r.bad(body+"ticker"):
		return NewError(CodeNoTicker, body+"ticker")
	case b.Title == "":
		return NewError(CodeNoTitle, body+"title")
	case b.Text == "":
		return NewError(CodeNoText, body+"text")
	case r.bad(body+"img") || b.Img != "" && !isHTTP(b.Img):
		return NewError(CodeImg, body+"img")
	}
	for _, key := range []string{
		"icon", "largeIcon", "large_icon", "expand_image", "big_body", "sound", "builder_id", "set_badge", "add_badge", "badge",
		"re_pop", "after_open",
	} {
		if r.bad(body + key) {
			return NewError(CodeBody, body+key)
		}
	}
	switch b.AfterOpen {
	case "", OpenApp:
	case OpenURL:
		switch {
		case b.URL == "" && !r.bad(body+"url"):
			return NewError(CodeNoURL, body+"url")
		case !isHTTP(b.URL):
			return NewError(CodeURL, body+"url")
		}
	case OpenActivity:
		if b.Activity == "" {
			return NewError(CodeNoActivity, body+"activity")
		}
	case OpenCustom:
		if len(b.Custom) == 0 {
			return NewError(CodeNoCustom, body+"custom")
		}
	case OpenAbility:
		if p != Harmony || b.URI == "" && b.Action == "" {
			return NewError(CodeBody, body+"after_open")
		}
	default:
		return NewError(CodeBody, body+"after_open")
	}
	return nil
}

// isHTTP reports whether s begins with http:// or https://, in any letter case.
func isHTTP(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// ValidateFlags checks the booleans (step 8).
func (r *SendRequest) ValidateFlags(p Platform) error {
	if pl := r.Payload; p != IOS && pl != nil && pl.Body != nil && pl.DisplayType == DisplayNotification {
		switch b := pl.Body; {
		case !b.PlayVibrate.Valid():
			return NewError(CodePlayVibrate, "payload.body.play_vibrate")
		case !b.PlayLights.Valid():
			return NewError(CodePlayLights, "payload.body.play_lights")
		case !b.PlaySound.Valid():
			return NewError(CodePlaySound, "payload.body.play_sound")
		}
	}
	switch {
	case !r.ProductionMode.Valid():
		return NewError(CodeProductionMode, "production_mode")
	case p == Android && !r.MiPush.Valid():
		return NewError(CodeJSON, "mipush") // there is no code for it
	}
	return nil
}

// ValidatePolicy checks times, rate and, for iOS, the collapse id (step 9).
func (r *SendRequest) ValidatePolicy(p Platform, now time.Time, opts *ValidateOptions) error {
	var loc *time.Location
	if opts != nil {
		loc = opts.Location
	}
	if _, _, err := r.Times(now, loc); err != nil {
		return err
	}
	switch {
	case r.Policy == nil:
		return nil
	case r.bad("policy.max_send_num") || r.Policy.MaxSendNum < 0:
		return NewError(CodeSendRate, "policy.max_send_num")
	case p == IOS && len(r.Policy.APNsCollapseID) > MaxAPNsCollapseID:
		return NewError(CodePolicy, "policy.apns_collapse_id")
	}
	return nil
}
