package embedded

// WithUsers is an engine whose one user has other rights; empty are the usual ones.
func (o Options) WithUsers(xml string) Options {
	o.users = xml
	return o
}
