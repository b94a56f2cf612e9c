// Package device is a device of a Carillon app, in Go: it registers, keeps a connection, receives messages,
// acknowledges them and reports what became of them.
//
// Register gives an Identity, which the program keeps. A Device connects with it over MQTT, by TCP, TLS or WebSocket,
// and calls a handler for each message:
//
//	d := device.New(identity, func(ctx context.Context, m device.Message) error {
//		fmt.Println(m.ID, string(m.Raw))
//		return nil // acknowledges it
//	}, nil)
//	err := d.Run(ctx)
//
// A message may take an earlier one back (Message.Recall): the handler withdraws what it has shown, and the Device confirms it.
//
// Carillon delivers at least once: a message may come again, with the same ID, and a device that must not show it twice
// keeps the ids that it has seen.
//
// While it is connected, a device also says what it is called: SetAlias, AddTags, Login, SetAttributes and their kin, and with
// Network on which network it is.
//
// A Fleet is many devices in one process, for measuring and for tests.
package device
