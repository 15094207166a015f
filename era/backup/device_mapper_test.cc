// SPDX-License-Identifier: GPL-3.0-or-later
// The real calls, as far as a test may make them: it changes no device. The tests against a kernel
// use all of them.
#include "era/backup/device_mapper.h"

#include <gmock/gmock.h>

#include "config.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& step) {
  try {
    step();
    return "";
  } catch (const persistent_data::device_error& e) {
    return e.what();
  }
}

#ifdef HAVE_DEVMAPPER

// Without rights, or without the kernel's device mapper, the library says why; it prints nothing.
TEST(DeviceMapper, HasNoDeviceOfAnUnlikelyName) {
  constexpr const char* name = "no_device_has_this_name";
  device_mapper& dm = device_mapper::real();
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  const std::string error = error_of([&] { EXPECT_FALSE(dm.info(name).exists); });
  if (!error.empty()) {
    EXPECT_THAT(error, HasSubstr("mapped device no_device_has_this_name cannot be looked up: "));
    EXPECT_THAT(error, HasSubstr("/dev/mapper/control"));
  }
  for (const auto& call : std::initializer_list<std::function<void()>>{
           [&] { dm.table(name); }, [&] { dm.status(name); }, [&] { dm.resume(name); },
           [&] { dm.suspend(name); }, [&] { dm.message(name, "checkpoint"); }})
    EXPECT_THAT(error_of(call), HasSubstr("mapped device no_device_has_this_name cannot "));
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(DeviceMapper, HasNoNodeOfAnUnlikelyDevice) {
  EXPECT_EQ(error_of([] { device_mapper::real().node(4000, 1); }),
            "block device 4000:1 has no node in /dev");
}

#else

TEST(DeviceMapper, NamesThePackage) {
  EXPECT_THAT(error_of([] { device_mapper::real().info("my_era"); }),
              HasSubstr("without libdevmapper"));
  EXPECT_THAT(error_of([] { device_mapper::real().info("my_era"); }),
              HasSubstr("libdevmapper-dev"));
}

#endif

}  // namespace
}  // namespace era
