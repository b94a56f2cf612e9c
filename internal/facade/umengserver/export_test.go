package umengserver

// UsesOf returns the quotas that a send is counted under.
var UsesOf = usesOf
