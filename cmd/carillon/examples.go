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
