package mqtt

// BufferSize returns how many bytes r holds, for tests of how it grows and shrinks.
func (r *Reader) BufferSize() int { return len(r.buf) }
