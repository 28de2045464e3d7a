package upstream

// Denied is denied, for the fuzz test.
var Denied = denied
