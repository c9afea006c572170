// Strings to UTF-8 bytes and back, by the host's C code. No system call is made here.

/** The UTF-8 bytes of a string. */
export const utf8Encode = native.utf8Encode;

/** The string in bytes [start, end), default all; undefined when they are not well-formed UTF-8. */
export const utf8Decode = native.utf8Decode;
