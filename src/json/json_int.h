/* Private to the module: the scan behind json_check(), with what the tree needs to know beforehand. */
#ifndef JSON_INT_H
#define JSON_INT_H
#include "json/json.h"

bool json_scan(struct str s, unsigned flags, const char *field, size_t *ret_values, struct err *err) MUST_USE;
#endif
