package push

// A PhoneBind gives a phone to a device: a number or its MD5, as ValidatePhone says; "" takes away what it has.
type PhoneBind struct {
	Ref   Ref
	Phone string
}
