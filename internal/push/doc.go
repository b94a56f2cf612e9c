// Package push is the domain: the nouns of a push platform and what must hold of them.
//
// An App has Devices. Each device has an Ordinal, a dense number inside its app, so that a set of devices is a bitmap.
// A Request asks for a Message to be sent to an Audience under a Policy; once accepted it is a Push, with a Report that
// says what became of it.
//
// The package does no I/O, starts no goroutine and reads no clock: what depends on time takes it as an argument. All
// types are plain values; none is safe for use by several goroutines while one of them writes.
package push
