package mqtt

import "io"

// readerBuffer is the size of a Reader's buffer between packets. It is small because there are many Readers, most of
// them idle, and most packets are acknowledgements.
const readerBuffer = 512

// maxEmptyReads is how often an io.Reader may return no byte and no error before it is taken for broken.
const maxEmptyReads = 100

// A Reader cuts a stream into packets. Its buffer grows only as the bytes of a packet arrive, never because a header has
// announced them, and shrinks again after a large packet. It is not safe for concurrent use.
type Reader struct {
	src   io.Reader
	limit int
	buf   []byte
	r, w  int   // the unread bytes are buf[r:w]
	err   error // sticky: after it the stream has no packet boundary any more
}

// NewReader returns a Reader of src that accepts packets of at most limit bytes, fixed header included; zero or less
// means MaxPacketSize. It reads nothing yet, and takes no memory for a buffer before the first read.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: src, limit: limit}
}

// SetLimit changes the greatest size of the packets to come, as when a connection has proved who it is.
func (r *Reader) SetLimit(limit int) { r.limit = limit }

// ReadPacket reads and decodes the next packet in version v, as Decode does. What the packet aliases is good until the next
// read. Errors are those of ReadFrame and Decode. After an error of Decode the stream is still at a packet boundary, but
// the standard has the connection closed.
func (r *Reader) ReadPacket(v Version) (Packet, error) {
	frame, err := r.ReadFrame()
	if err != nil {
		return nil, err
	}
	return Decode(v, frame)
}

// ReadFrame reads the next packet without decoding it. The slice is good until the next read. The error is io.EOF when
// the stream ends between packets, io.ErrUnexpectedEOF when it ends within one, an *Error when what arrives is no packet
// or too large a one, or else the source's own. It is given again by every later call, except for a time-out of the
// source, after which reading may go on.
func (r *Reader) ReadFrame() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	for {
		h, err := Frame(r.buf[r.r:r.w], r.limit)
		if err == nil {
			frame := r.buf[r.r : r.r+h.Size() : r.r+h.Size()]
			r.r += h.Size()
			return frame, nil
		}
		if err != ErrShort {
			r.err = err
			return nil, err
		}
		if err := r.fill(h.Size()); err != nil {
			return nil, err
		}
	}
}

// fill reads at least one more byte of a packet of which size bytes are known to be needed, 0 when that is not known.
func (r *Reader) fill(size int) error {
	r.makeRoom(size)
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		switch {
		case n > 0:
			return nil // an error that came along will come again
		case err == nil:
			continue
		case err == io.EOF && r.w > r.r:
			r.err = io.ErrUnexpectedEOF
			return r.err
		}
		if t, ok := err.(interface{ Timeout() bool }); !ok || !t.Timeout() {
			r.err = err
		}
		return err
	}
	r.err = io.ErrNoProgress
	return r.err
}

// makeRoom moves the unread bytes to the front of a buffer that has room for at least one more.
func (r *Reader) makeRoom(size int) {
	unread := r.w - r.r
	switch {
	case unread < readerBuffer && len(r.buf) != readerBuffer && size <= readerBuffer:
		// The first read, or the first after a large packet, whose buffer goes.
		r.move(make([]byte, readerBuffer))
	case unread == len(r.buf):
		// Doubling keeps pace with what has arrived; size bounds it, since a packet needs no more.
		r.move(make([]byte, max(min(2*unread, size), readerBuffer)))
	default:
		r.move(r.buf)
	}
}

// move makes buf the buffer, which may be the present one.
func (r *Reader) move(buf []byte) {
	r.w = copy(buf, r.buf[r.r:r.w])
	r.r, r.buf = 0, buf
}
