package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/carillonpush/carillon/internal/push"
)

// metrics are what /metrics shows. They are registered in a registry of the server's own, not in a global one.
type metrics struct {
	all       *prometheus.Registry
	accepted  *prometheus.CounterVec
	delivered *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	batch     prometheus.Histogram
	wait      prometheus.Histogram
	commit    prometheus.Histogram
	requests  *prometheus.HistogramVec
}

func newMetrics(version string) *metrics {
	m := &metrics{
		all: prometheus.NewRegistry(),
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_pushes_accepted_total", Help: "Pushes accepted, by kind and by the dialect that they came in.",
		}, []string{"kind", "origin"}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_deliveries_total", Help: "Devices that a push was delivered to, by kind and channel.",
		}, []string{"kind", "channel"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_drops_total", Help: "Devices that a push was not delivered to for good, by kind and reason; expiry has the reason expired.",
		}, []string{"kind", "channel", "reason"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_commit_writes", Help: "Writes that shared one group commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_commit_wait_seconds", Help: "How long the oldest write of a group commit waited for it to begin.", Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_commit_seconds", Help: "How long group commits took.", Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carillon_http_request_seconds", Help: "HTTP requests, by API and status.", Buckets: prometheus.ExponentialBuckets(0.0005, 3, 10),
		}, []string{"api", "status"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "carillon_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.all.MustRegister(m.accepted, m.delivered, m.dropped, m.batch, m.wait, m.commit, m.requests, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauge registers a number that is asked for when it is scraped.
func (m *metrics) gauge(name, help string, value func() float64) {
	m.all.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func (m *metrics) pushAccepted(kind push.PushKind, origin string) {
	m.accepted.WithLabelValues(string(kind), origin).Inc()
}

func (m *metrics) settled(kind push.PushKind, mark push.Mark, n int) {
	if n == 0 {
		return
	}
	if mark == push.MarkDelivered {
		m.delivered.WithLabelValues(string(kind), "own").Add(float64(n))
		return
	}
	m.dropped.WithLabelValues(string(kind), "own", mark.Reason()).Add(float64(n))
}

func (m *metrics) committed(writes int, wait, took time.Duration) {
	m.batch.Observe(float64(writes))
	m.wait.Observe(wait.Seconds())
	m.commit.Observe(took.Seconds())
}
