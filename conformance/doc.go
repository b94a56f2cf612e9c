// Package conformance runs other people's clients, and requests as other people's SDKs send them, against a running
// server. It has no code of its own: everything is in its tests.
package conformance
