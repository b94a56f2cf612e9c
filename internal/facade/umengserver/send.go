package umengserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/carillonpush/carillon/internal/facade"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// Origin is what pushes that came in here carry as their origin.
const Origin = "umeng"

// minKeep is how long an out_biz_no is remembered at least.
const minKeep = 7 * 24 * time.Hour

// send serves /api/send: steps 5 to 10 of section 13, and the push.
func (s *Server) send(w http.ResponseWriter, r *http.Request, c call) ([]byte, error) {
	in := c.root.Send()
	out := umeng.SendResult{ThirdpartyID: in.ThirdpartyID}
	req, err := c.request(in)
	if err != nil {
		if p, ok := s.repeated(r.Context(), c, in, err); ok {
			out.TaskID = p.ID.String()
			return out.Envelope(), nil
		}
		return nil, err
	}
	id := facade.DryRunID
	if c.dryRun {
		count, err := s.pushes.Count(r.Context(), req)
		if err != nil {
			return nil, push.Wrap("umengserver.send", err)
		}
		facade.SetDryRunResult(w, count)
	} else {
		p, err := s.pushes.Accept(r.Context(), req)
		if err != nil {
			return nil, push.Wrap("umengserver.send", err)
		}
		id = p.ID.String()
	}
	if in.IsTask() {
		out.TaskID = id
	} else {
		out.MsgID = id
	}
	return out.Envelope(), nil
}

// repeated finds the task that in repeats, if in was refused for a time that has passed since. A sender that did not get
// the first answer must get it now, and not be told that its start_time is over: the task has started without it.
func (s *Server) repeated(ctx context.Context, c call, in *umeng.SendRequest, refused error) (push.Push, bool) {
	late := errors.Is(refused, umeng.CodeStartTime) || errors.Is(refused, umeng.CodeExpireTime)
	key := c.key(in, push.Policy{})
	if !late || key.Zero() || c.dryRun {
		return push.Push{}, false
	}
	// Without a message this is no request that could be accepted: it finds the first one, or nothing.
	p, err := s.pushes.Accept(ctx, push.Request{App: c.app.ID, Key: key, Origin: Origin, RequestID: c.requestID})
	return p, err == nil
}

// request validates in and returns it as the domain has it.
func (c call) request(in *umeng.SendRequest) (push.Request, error) {
	opts := &umeng.ValidateOptions{
		OptionalTicker: !c.app.Settings.Bool(push.SettingUmengRequireTicker),
		PayloadLimit:   c.app.Settings.Int(push.SettingUmengPayloadLimit),
		Location:       c.app.Location(),
	}
	if err := in.Validate(umeng.Platform(c.platform.String()), c.now, opts); err != nil {
		return push.Request{}, err
	}
	req := push.Request{
		App:       c.app.ID,
		Audience:  push.Audience{Platforms: []push.Platform{c.platform}},
		Origin:    Origin,
		RequestID: c.requestID,
	}
	switch in.Type {
	case umeng.TypeUnicast, umeng.TypeListcast:
		// A token of no device reaches nobody, and is counted; it is no error (section 13).
		req.Audience.Devices = in.DeviceTokens
		req.AllowUnknown = true
	case umeng.TypeBroadcast:
		req.Audience.All = true
	case umeng.TypeGroupcast, umeng.TypeFilecast, umeng.TypeCustomizedcast:
		e := umeng.NewError(umeng.CodePushDisabled, "type")
		e.Message = "type: " + string(in.Type) + " is not enabled in this version"
		return push.Request{}, e
	}
	var err error
	if req.Policy, err = c.policy(in, opts.Location); err != nil {
		return push.Request{}, err
	}
	req.Key = c.key(in, req.Policy)
	if !c.dryRun {
		req.Uses = usesOf(c.platform, in)
	}
	if req.Message, err = c.message(in); err != nil {
		return push.Request{}, err
	}
	return req, nil
}
