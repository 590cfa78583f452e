/* C++ names, as far as finding a function by one needs them. */
#ifndef NG_CORE_IMAGE_CXXNAME_H
#define NG_CORE_IMAGE_CXXNAME_H

#include <stdbool.h>

/**
 * Is a mangled name ("_ZN2ns1T3getEi") that of a function written without its parameters
 * ("ns::T::get")?
 *
 * Plain names only: namespaces, classes, constructors ("T::T") and destructors ("T::~T"); the type
 * arguments of the function itself may be left out, as its parameters are. Templates within the
 * path and operators are found by their mangled names alone. libstdc++ could demangle all of them,
 * but a hostile name can make it write exponentially much: this reads each byte once.
 */
bool ng_cxxname_match(const char *mangled, const char *qualified);

#endif
