package push

// A CapLevel is one chunk of the devices that got Level notifications or more on a day.
type CapLevel struct {
	App      AppID
	Day      Day    // in the app's time zone
	Category string // "" counts all categories together
	Level    int    // from 1
	Chunk    Chunk
}
