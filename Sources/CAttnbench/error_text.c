#include "error_text.h"

#include <string.h>

#include "attnbench.h"

static _Thread_local char error_text[4096];

void attn_set_error_text(const char *text) {
  size_t length = strlen(text);
  if (length >= sizeof error_text) {
    length = sizeof error_text - 1;
    // Bytes 10xxxxxx continue a UTF-8 character.
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
  }
  memcpy(error_text, text, length);
  error_text[length] = 0;
}

const char *attnbench_last_error(void) { return error_text; }
