package tap

const takesAlong = true
