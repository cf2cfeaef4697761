package probe

var Judge = judge
