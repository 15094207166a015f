// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: metadata to XML and back, and from damaged to repaired, in memory.
#pragma once

#include <cstdint>
#include <string>

#include "era/metadata/metadata.h"
#include "era/repair/salvage.h"
#include "era/xml/xml_writer.h"

namespace era::test {

// As era_dump's options.
struct dump_options {
  bool logical = false, compact = false;
};

// Copies metadata to XML. Returns false at the first damage, which goes to the finding_sink.
bool dump_metadata(const metadata&, const pd::block_device&, const dump_options&, const text_sink&,
                   const finding_sink&);

// The XML of the metadata at a path; a line that names the damage if there is any.
std::string dump_of(const std::string& path, dump_options, source = source::live);

// The findings of era_check, a line each; empty if all is well.
std::string findings_in(const std::string& path);

// Restores XML, named "t.xml" in messages, onto the file at a path, handing it over in pieces of
// that many bytes. Returns the message if that fails.
std::string restore_to(const std::string& path, const std::string& xml,
                       std::size_t piece = std::size_t{1} << 20);

// Repairs the metadata at one path onto the file at another. Returns the message if that fails.
// Throws damaged_metadata.
std::string repair_to(const std::string& from, const std::string& to, const repair_options&,
                      const repair_report&);

}  // namespace era::test
