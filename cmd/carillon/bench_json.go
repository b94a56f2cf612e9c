package main

// A benchResult is what a run has measured. Parts that a scenario does not measure are left out.
type benchResult struct {
	Scenario string `json:"scenario"`
	Version  string `json:"version"`
	Devices  int    `json:"devices"`
	QoS      int    `json:"qos"`
	Messages int    `json:"messages,omitempty"`
	Size     int    `json:"size,omitempty"` // bytes of a message, about
	Senders  int    `json:"senders,omitempty"`
	Via      string `json:"via,omitempty"`
	Batch    int    `json:"batch,omitempty"`

	Import   *rate   `json:"import,omitempty"` // devices of a base
	Asked    []asked `json:"asked,omitempty"`
	Matching int64   `json:"matching,omitempty"` // connected devices that are in the last expression

	Connect        *rate   `json:"connect,omitempty"`
	Accept         *rate   `json:"accept,omitempty"`            // pushes that the node answered as durable
	AcceptLatency  *spread `json:"accept_latency_ms,omitempty"` // of one request
	Deliver        *rate   `json:"deliver,omitempty"`
	DeliverLatency *spread `json:"deliver_latency_ms,omitempty"` // from before the request to arrival

	Expected   int64 `json:"expected,omitempty"` // deliveries of what was accepted
	Missing    int64 `json:"missing"`
	Duplicates int64 `json:"duplicates"`

	RSSBefore            int64   `json:"rss_before,omitempty"` // bytes, with all devices registered and none connected
	RSSAfter             int64   `json:"rss_after,omitempty"`
	RSSPerConnection     int64   `json:"rss_per_connection,omitempty"` // its growth by connecting, shared out; before anything is sent
	CPUSeconds           float64 `json:"cpu_seconds,omitempty"`
	CPUSecondsPerMillion float64 `json:"cpu_seconds_per_million,omitempty"`
}

// An asked is one expression that was counted.
type asked struct {
	Name    string  `json:"name"`
	Target  int     `json:"target"`
	Latency *spread `json:"latency_ms"` // of one dry run
}
