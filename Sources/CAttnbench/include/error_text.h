// What attnbench_last_error shows, for the library itself: not part of the interface.
#ifndef ATTNBENCH_ERROR_TEXT_H
#define ATTNBENCH_ERROR_TEXT_H

/// Keeps the text for the calling thread, cut at a character where it is too long.
void attn_set_error_text(const char *text);

#endif
