package server

// observe registers the numbers that are asked for when they are scraped.
func (s *Server) observe() {
	m := s.metrics
	m.gauge("carillon_connections", "Devices connected now.", func() float64 { return float64(s.gateway.Stats().Online) })
	m.gauge("carillon_write_queue_depth", "Writes that wait for a group commit.", func() float64 { return float64(s.store.Depth()) })
	m.gauge("carillon_inbox_rows", "Direct messages that wait for their device.", func() float64 { return float64(s.store.InboxRows()) })
	m.gauge("carillon_live_bytes", "Memory of the sets of live bulk pushes.", func() float64 { return float64(s.dispatcher.LiveBytes()) })
}
