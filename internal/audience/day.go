package audience

import (
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Days need no dictionary: the code of a day is how many days it is after epochDay, so that codes grow as days do. What is
// before counts as the first day of 2020, long before there was any device, and what is after 2199 as the last.
const epochDay = push.Day(18262) // 2020-01-01; its code is 1

func dayCode(d push.Day) uint16 {
	if d == 0 {
		return 0
	}
	return uint16(min(max(int64(d)-int64(epochDay)+1, 1), 1<<16-1))
}

// within returns the codes of the days from now-span on.
func within(now time.Time, span time.Duration) matcher {
	from := dayCode(max(push.DayOf(now.Add(-span)), 1)) // day 0 would be none
	m := matcher{in: make([]uint8, int(dayCode(push.DayOf(now)))+1), beyond: 1}
	for code := min(int(from), len(m.in)); code < len(m.in); code++ {
		m.in[code] = 1
	}
	return m
}
