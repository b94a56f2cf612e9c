package testpg

// FindBin is findBin, so that a machine without PostgreSQL can be tested on one that has it.
var FindBin = findBin

// WithDatabase is withDatabase, for URLs that the environment might hold.
var WithDatabase = withDatabase
