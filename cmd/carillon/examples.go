package main

// What --help says below the verbs that only have others below them.

// Help returns an example.
func (appCmd) Help() string {
	return "Example:\n\n    carillon app create shop && carillon app show shop"
}

// Help returns an example.
func (deviceCmd) Help() string {
	return "Example:\n\n    carillon device register --app shop --platform ios"
}

// Help returns an example.
func (doctorCmd) Help() string {
	return "Example:\n\n    carillon doctor index"
}

// Help returns an example.
func (benchCmd) Help() string {
	return "Example:\n\n    carillon bench broadcast --devices 10000"
}

// Help returns an example.
func (configCmd) Help() string {
	return "Example:\n\n    carillon config default > carillon.yaml && carillon config check --config carillon.yaml"
}

// Help returns an example.
func (scheduleCmd) Help() string {
	return "Example:\n\n    carillon schedule list --app shop"
}

// Help returns an example.
func (templateCmd) Help() string {
	return "Example:\n\n    carillon template add sale --app shop --title '#name#, #off# off' --default name=Friend"
}

// Help returns an example.
func (reportCmd) Help() string {
	return "Example:\n\n    carillon report pushes --app shop --by group"
}

// Help returns an example.
func (webhookCmd) Help() string {
	return "Example:\n\n    carillon webhook add https://example.com/push-events --app shop --event delivered --event opened"
}
