// SPDX-License-Identifier: GPL-3.0-or-later
// Whether the program is built with a sanitizer, which makes it several times slower and brings its
// own allocator.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define ERA_SANITIZED true
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ERA_SANITIZED true
#endif
#ifndef ERA_SANITIZED
#define ERA_SANITIZED false
#endif

inline constexpr bool is_sanitized = ERA_SANITIZED;
