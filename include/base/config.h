/* The limits of config.def as constants. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H
enum {
#define LIMIT(name, value, unit, what, at_max) name = (value),
#include "base/config.def"
#undef LIMIT
};
#endif
