// Prints the hash of run_onnx.cpp's blob for each form and image of a table, in one process, and
// for each form its flags, which are read again and must mean the same.

#define main run_onnx
#include "../../tools/cpp/run_onnx.cpp"
#undef main

string digest(const cv::Mat& blob) {
    Sha256 found;
    found.add(blob.ptr<char>(), 4 * blob.total());
    return found.finish();
}

// Return the text of a JSON value, as the metadata holds it.
string json_of(const Json& value) {
    vector<string> parts;
    for (const Json& one : value.items) parts.push_back(json_of(one));
    for (const auto& [name, one] : value.members)
        parts.push_back(quoted(name) + ": " + json_of(one));
    if (value.kind == Json::ARRAY) return "[" + join(parts, ", ") + "]";
    if (value.kind == Json::OBJECT) return "{" + join(parts, ", ") + "}";
    return value.kind == Json::STRING ? quoted(value.text) : value.kind ? value.text : "null";
}

int main(int, char** words) {
    fs::path folder(words[1]);
    const Json table = *read_json(read_file(folder / "table.json", MAX_TEXT));
    for (const Json& form : table.at("forms").items) {
        string task = form.at("task").text, name = form.at("form").text;
        Model model;
        model.metadata["preprocess"] = json_of(form.at("preprocess"));
        Preprocessing how = find_preprocessing(Arguments(), task, model);
        for (const auto& [image, expected] : form.at("blobs").members) {
            cv::Mat pixels = read_image(folder / "images" / image, how.exif);
            std::cout << name << '\t' << image << '\t' << digest(blob_of(pixels, how)) << '\n';
        }
        std::istringstream flags(how.flags());
        vector<string> given;
        for (string word; flags >> word;) given.push_back(word);
        Preprocessing by_flags = find_preprocessing(parse_flags(given), task, Model());
        bool is_same = by_flags.flags() == how.flags() &&
                       cv::norm(by_flags.table(), how.table(), cv::NORM_INF) == 0;
        std::cout << name << '\t' << (is_same ? how.flags() : "other flags") << '\n';
    }
}
