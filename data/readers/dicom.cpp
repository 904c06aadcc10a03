// A folder of DICOM studies, searched to any depth: patient, view and age from the headers, classes
// from a table (table=FILE), from class folders (folders=classes), or none.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>

#include "data/classes.h"
#include "data/formats/dicom/dicom.h"
#include "data/formats/dicom/header.h"
#include "data/formats/format.h"
#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 4> kKeys{"SOPInstanceUID", "StudyInstanceUID", "PatientID",
                                           "file"};

// A table with a column `label` and one that says of which image, study or patient.
class Labels {
 public:
  Labels(const fs::path& file, const fs::path& root) : table_(CsvTable::read(file)), root_(root) {
    const int label = table_.column("label");
    int key = -1;
    for (const char* name : kKeys)
      if (const int column = table_.find_column(name); column >= 0) {
        THORAX_CHECK(key < 0, "[data] {}: has columns {} and {}; one says of what the label is",
                     table_.name(), key_, name);
        key = column;
        key_ = name;
      }
    THORAX_CHECK(key >= 0,
                 "[data] {}: no column says of what the label is; give one of {}; columns: {}",
                 table_.name(), fmt::join(kKeys, ", "), fmt::join(table_.columns(), ", "));
    for (int64_t r = 0; r < table_.rows(); ++r) {
      std::string value = trimmed(table_.at(r, key)), name = trimmed(table_.at(r, label));
      if (key_ == "file") value = fs::path(value).lexically_normal().string();
      THORAX_CHECK(!value.empty() && !name.empty(),
                   "[data] {}: {} is empty; fill it in, or remove "
                   "the row",
                   table_.where(r), value.empty() ? key_ : "label");
      const auto [place, fresh] = rows_.emplace(value, Row{name, r});
      // A patient's id is not repeated in a message.
      THORAX_CHECK(
          fresh || same_class(place->second.label, name),
          "[data] {} and {}: one {} with two labels, '{}' and '{}'; remove one of the rows",
          table_.where(place->second.row), table_.where(r), key_, place->second.label, name);
    }
  }

  // "" where no row speaks of it.
  std::string of(const DicomHeader& header, const fs::path& file) {
    if (key_ == "SOPInstanceUID") return find(header.sop_instance);
    if (key_ == "StudyInstanceUID") return find(header.study);
    if (key_ == "PatientID") return find(header.patient_id);
    const std::string whole = find(file.lexically_relative(root_).lexically_normal().string());
    if (!whole.empty()) return whole;
    const std::string name = file.filename().string(), label = find(name);
    if (label.empty()) return {};
    // Names such as IM0001.dcm come again in every study.
    const auto [other, fresh] = by_name_.emplace(name, file);
    THORAX_CHECK(fresh || other->second == file,
                 "[data] {}: {} of column file is more than one file, {} and {}; write each one's "
                 "path below {}",
                 table_.where(rows_.at(name).row), name, other->second.string(), file.string(),
                 root_.string());
    return label;
  }

  const std::string& name() const { return table_.name(); }
  const std::string& key() const { return key_; }
  size_t unused() const {
    return static_cast<size_t>(std::count_if(rows_.begin(), rows_.end(),
                                             [](const auto& row) { return !row.second.used; }));
  }

 private:
  struct Row {
    std::string label;
    int64_t row = 0;
    bool used = false;
  };
  std::string find(const std::string& value) {
    const auto row = rows_.find(value);
    if (row == rows_.end()) return {};
    row->second.used = true;
    return row->second.label;
  }

  CsvTable table_;
  fs::path root_;
  std::string key_;
  std::map<std::string, Row> rows_;
  std::map<std::string, fs::path> by_name_;  // files that were found by their name alone
};

// 0: all; else the number of one frame.
int parse_frames(const std::string& text) {
  if (text == "all") return 0;
  if (text == "first") return 1;
  int frame = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), frame);
  THORAX_CHECK(error == std::errc() && end == text.data() + text.size() && frame >= 1,
               "[data] dicom: frames={}: must be first, all or a number from 1", text);
  return frame;
}

bool is_frontal(const std::string& view) {
  return view.empty() || view == "PA" || view == "AP";
}

bool is_dicom(const fs::path& file) {
  std::array<uint8_t, 512> head{};
  std::ifstream in(file, std::ios::binary);
  in.read(reinterpret_cast<char*>(head.data()), head.size());
  const ImageFormat* format =
      recognise_format(std::span(head).first(static_cast<size_t>(in.gcount())));
  return format && format->id == "dicom";
}

std::string counts(const std::map<std::string, int64_t>& values) {
  std::vector<std::string> parts;
  for (const auto& [value, count] : values)
    parts.push_back(fmt::format("{} {}", count, value.empty() ? "not stated" : value));
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

Dataset read_dicom(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  const std::string table = options.text("table", ""),
                    folders = options.choice("folders", "none", {"none", "classes"}),
                    view = options.choice("view", "frontal", {"frontal", "all"});
  const int frame = parse_frames(options.text("frames", "first"));
  options.finish();
  THORAX_CHECK(!dicom_reader().empty(),
               "[data] dicom: {}: this build does not read DICOM; install libdcmtk-dev and build "
               "thorax anew, or convert the files to PNG",
               spec.path.string());
  THORAX_CHECK(table.empty() || folders == "none",
               "[data] dicom: {}: table={} and folders=classes both name classes; give one",
               spec.path.string(), table);
  require_folder(spec.kind, spec.path);
  std::optional<Labels> labels;
  if (!table.empty()) labels.emplace(table, spec.path);
  const FolderFiles files = files_in(spec.path, Depth::all);
  collect.left_out(files);
  const std::string kDicom = "DICOM file", kReadable = "readable DICOM header",
                    kImage = "holds an image", kOnce = "SOP instance named once",
                    kView = "frontal view (PA, AP) or none stated",
                    kFrame = fmt::format("has frame {}", frame),
                    kLabel = labels ? "has a label in " + labels->name() : "in a class folder";
  for (const std::string& rule : {kDicom, kReadable, kImage, kOnce}) collect.declare(rule);
  std::set<std::string> instances;
  std::map<std::string, int64_t> views, sexes, sides;
  std::string first_date, last_date;
  std::set<std::string> studies;
  int64_t without_patient = 0;
  for (const fs::path& file : files.images) {
    collect.count_row();
    if (!collect.passes(kDicom, is_dicom(file), file.string())) continue;
    DicomHeader header;
    try {
      header = read_dicom_header(file);
    } catch (const Error& e) {
      collect.passes(kReadable, false, e.what());
      continue;
    }
    constexpr const char* kSegmentation = "1.2.840.10008.5.1.4.1.1.66.4";
    if (!collect.passes(kImage, header.has_image && header.sop_class != kSegmentation,
                        file.string()))
      continue;
    const bool fresh = header.sop_instance.empty() || instances.insert(header.sop_instance).second;
    if (!collect.passes(kOnce, fresh, file.string())) continue;
    if (view == "frontal" && !collect.passes(kView, is_frontal(header.view), file.string()))
      continue;
    if (!collect.passes(kFrame, frame <= header.frames, file.string())) continue;
    Sample s;
    if (labels) {
      s.class_name = labels->of(header, file);
    } else if (folders == "classes") {
      const fs::path below = file.lexically_relative(spec.path);
      if (below.has_parent_path()) s.class_name = trimmed(below.begin()->string());
    }
    if ((labels || folders == "classes") &&
        !collect.passes(kLabel, !s.class_name.empty(), file.string()))
      continue;
    s.finding = s.class_name;
    s.view = header.view;
    s.age = header.age;
    const std::string patient = header.patient_key();
    without_patient += patient.empty();
    // Images of one study are of one patient.
    s.patient = collect.source() + "/" +
                (!patient.empty()        ? "patient " + patient
                 : !header.study.empty() ? "study " + header.study
                                         : "file " + file.lexically_relative(spec.path).string());
    ++views[header.view];
    ++sexes[header.sex];
    ++sides[header.laterality];
    studies.insert(header.study);
    if (!header.study_date.empty()) {
      if (first_date.empty() || header.study_date < first_date) first_date = header.study_date;
      last_date = std::max(last_date, header.study_date);
    }
    const int begin = frame == 0 ? 1 : frame, end = frame == 0 ? header.frames : frame;
    for (int f = begin; f <= end; ++f) {
      Sample one = s;
      // The first frame of one is the file itself.
      one.image = header.frames > 1 && (frame != 1)
                      ? fs::path(fmt::format("{}#{}", file.string(), f))
                      : file;
      if (f > begin) collect.count_row();
      collect.add(std::move(one));
    }
  }
  collect.note(
      fmt::format("{}: patients are grouped by PatientID and its issuer, which appear "
                  "nowhere but as a hash",
                  collect.source()));
  if (without_patient > 0)
    collect.note(fmt::format("{}: {} files name no patient; those of one study count as one",
                             collect.source(), without_patient));
  collect.note(fmt::format(
      "{}: {} studies{}; view: {}; sex: {}; laterality: {}", collect.source(), studies.size(),
      first_date.empty() ? std::string() : fmt::format(" of {} to {}", first_date, last_date),
      counts(views), counts(sexes), counts(sides)));
  if (labels && labels->unused() > 0)
    collect.note(fmt::format("{}: {} rows of {} ({}) belong to no image that was read",
                             collect.source(), labels->unused(), labels->name(), labels->key()));
  if (!labels && folders == "none")
    collect.note(collect.source() +
                 ": no labels; a classifier needs table=FILE, folders=classes or class=NAME");
  return collect.finish();
}

}  // namespace thorax::readers
