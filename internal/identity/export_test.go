package identity

// Permute and Invert show the permutation of channel ids.
func (k *Keyring) Permute(x uint64) uint64 { return k.permute(x) }

// Invert undoes Permute.
func (k *Keyring) Invert(x uint64) uint64 { return k.invert(x) }
