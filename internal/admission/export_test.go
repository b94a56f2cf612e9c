package admission

import "github.com/carillonpush/carillon/internal/push"

// Remembered returns how many pushes of an app are remembered.
func (g *Gate) Remembered(app push.AppID) int {
	h := g.houses.get(app)
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.tally.pushes)
}
