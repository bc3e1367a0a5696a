// Run a classification or segmentation model on images or video, with OpenCV alone.
//
// The C++ twin of run_onnx.py: the same flags, blobs, answers and exit codes. Task, preprocessing
// and class names come from the ONNX file's metadata; flags override them. This file needs C++17
// and an OpenCV from 4.6 on. Functions have the names that they have in run_onnx.py.

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#ifdef WITH_VIDEOIO
#include <opencv2/videoio.hpp>
#endif
#ifdef WITH_HIGHGUI
#include <opencv2/highgui.hpp>
#endif

#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>
#endif

namespace fs = std::filesystem;
using std::optional;
using std::pair;
using std::string;
using std::vector;

const int TOP = 5;                   // classes of an image that are printed
const int LEGEND_CLASSES = 32;       // with more classes, the legend lists only those found
const int64_t MAX_PIXELS = 1 << 27;  // of an image, as it is and resized
const int MAX_SIDE = (1 << 15) - 1;  // of a resized image
const uintmax_t MAX_IMAGE = 1 << 30, MAX_TEXT = 1 << 24;  // bytes of a file that is read whole
const int MAX_THREADS = 1024;
const int MIN_SIDE = 320, MIN_HEIGHT = 96, MIN_TEXT = 22;  // pixels of a picture, a line of text
const int WARM_PASSES = 5;                                 // that --verify times
const int DONE = 0, CHECK_FAILED = 1, WRONG_INPUT = 2, INTERRUPTED = 130;  // exit codes

// Ends the program with an exit code, and one line on stderr.
struct Failure : std::runtime_error {
    Failure(int exit_code, const string& message) : std::runtime_error(message), code(exit_code) {}
    int code;
};

// A text is not what it should be. Whoever knows the file or flag turns it into a Failure.
struct ValueError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// This OpenCV cannot read or run a model.
struct Unusable : Failure {
    explicit Unusable(const string& message) : Failure(WRONG_INPUT, message) {}
};

// Throw a Failure of exit code 2; the message says what was found, and what was expected.
[[noreturn]] void refuse(const string& message) { throw Failure(WRONG_INPUT, message); }

// Text

template <typename... Values>
string format(const char* pattern, Values... values) {
    string text(static_cast<size_t>(std::snprintf(nullptr, 0, pattern, values...)) + 1, '\0');
    std::snprintf(text.data(), text.size(), pattern, values...);
    text.pop_back();
    return text;
}

string join(const vector<string>& parts, const string& separator) {
    string text;
    for (const string& part : parts) text += (&part == &parts.front() ? "" : separator) + part;
    return text;
}

bool starts_with(const string& text, const string& start) { return text.rfind(start, 0) == 0; }

string strip(const string& text) {
    const char* blank = " \t\r\n\v\f";
    size_t first = text.find_first_not_of(blank);
    return first == string::npos ? ""
                                 : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

string lower(string text) {
    for (char& one : text) one = static_cast<char>(std::tolower(static_cast<unsigned char>(one)));
    return text;
}

bool is_decimal(const string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == string::npos;
}

// Split at white space, and join with single blanks: one line.
string one_line(const string& text) {
    std::istringstream words(text);
    vector<string> found;
    for (string word; words >> word;) found.push_back(word);
    return join(found, " ");
}

// Return the code point at a place of UTF-8 text, and its bytes; nothing where that is not UTF-8.
optional<pair<uint32_t, size_t>> code_point(const string& text, size_t place) {
    auto first = static_cast<unsigned char>(text[place]);
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (!length || first > 0xF4 || place + length > text.size()) return {};
    uint32_t value = length == 1 ? first : first & (0x7Fu >> length);
    for (size_t index = 1; index < length; ++index) {
        auto byte = static_cast<unsigned char>(text[place + index]);
        if ((byte & 0xC0) != 0x80) return {};
        value = value << 6 | (byte & 0x3F);
    }
    bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    bool surrogate = 0xD800 <= value && value < 0xE000;
    if (overlong || surrogate || value > 0x10FFFF) return {};
    return pair(value, length);
}

// Return a text that is valid UTF-8; U+FFFD stands for each byte that is not.
string valid_utf8(const string& text) {
    string valid;
    for (size_t place = 0; place < text.size();) {
        auto found = code_point(text, place);
        valid += found ? text.substr(place, found->second) : "\xEF\xBF\xBD";
        place += found ? found->second : 1;
    }
    return valid;
}

// Return a text without the characters that would start another line or steer a terminal.
string printable(const string& text) {
    string shown;
    for (size_t place = 0; place < text.size();) {
        auto found = code_point(text, place);
        auto byte = static_cast<unsigned char>(text[place]);
        auto [value, length] = found.value_or(pair<uint32_t, size_t>(byte, 1));
        bool control = value < 0x20 || (0x7F <= value && value < 0xA0) || value == 0xAD;
        bool layout = (0x200B <= value && value <= 0x200F) ||
                      (0x2028 <= value && value <= 0x202E) ||
                      (0x2060 <= value && value <= 0x206F) || value == 0xFEFF;
        if (value == '\n') shown += "\\n";
        else if (value == '\r') shown += "\\r";
        else if (value == '\t') shown += "\\t";
        else if (!found || control) shown += format("\\x%02x", value);
        else if (layout) shown += format("\\u%04x", value);
        else shown += text.substr(place, length);
        place += length;
    }
    return shown;
}

// Return how many characters a text has.
size_t width_of(const string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char one) { return (one & 0xC0) != 0x80; }));
}

string padded(const string& text, size_t width) {
    return text + string(width - std::min(width, width_of(text)), ' ');
}

void say(const string& line) { std::cout << printable(line) << '\n'; }

void complain(const string& line) {
    std::cout.flush();
    std::cerr << printable(line) << std::endl;
}

// Return the shortest digits that stand for a number, as 0.ddd times ten to the power of `second`.
pair<string, int> shortest_digits(double value) {
    for (int precision = 0; precision < 17; ++precision) {
        string text = format("%.*e", precision, value);
        if (std::strtod(text.c_str(), nullptr) != value) continue;
        size_t mark = text.find('e');
        string digits = text.substr(0, mark);
        digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
        return {digits, std::stoi(text.substr(mark + 1)) + 1};
    }
    throw ValueError("not a number");
}

// Return the shortest decimal that stands for a number: 0.00001, 123.675, 20.
string shortest(double value) {
    if (!std::isfinite(value)) throw ValueError("not a number");
    if (value < 0) return "-" + shortest(-value);
    if (value == 0) return "0";
    auto [digits, point] = shortest_digits(value);
    auto length = static_cast<int>(digits.size());
    if (point <= 0) return "0." + string(static_cast<size_t>(-point), '0') + digits;
    if (point >= length) return digits + string(static_cast<size_t>(point - length), '0');
    return digits.substr(0, static_cast<size_t>(point)) + "." +
           digits.substr(static_cast<size_t>(point));
}

// Exact numbers

// A natural number of any size: digits of 32 bits, the lowest first, none of them a leading zero.
using Natural = vector<uint32_t>;

void trim(Natural& number) {
    while (!number.empty() && !number.back()) number.pop_back();
}

bool is_less(const Natural& one, const Natural& other) {
    if (one.size() != other.size()) return one.size() < other.size();
    return std::lexicographical_compare(one.rbegin(), one.rend(), other.rbegin(), other.rend());
}

// number = number * factor + term
void multiply_add(Natural& number, uint32_t factor, uint32_t term) {
    uint64_t carry = term;
    for (uint32_t& digit : number) {
        carry += static_cast<uint64_t>(digit) * factor;
        digit = static_cast<uint32_t>(carry);
        carry >>= 32;
    }
    if (carry) number.push_back(static_cast<uint32_t>(carry));
    trim(number);
}

Natural product(const Natural& one, const Natural& other) {
    Natural result(one.size() + other.size());
    for (size_t i = 0; i < one.size(); ++i) {
        uint64_t carry = 0;
        for (size_t j = 0; j < other.size() || carry; ++j) {
            carry += result[i + j];
            if (j < other.size()) carry += static_cast<uint64_t>(one[i]) * other[j];
            result[i + j] = static_cast<uint32_t>(carry);
            carry >>= 32;
        }
    }
    trim(result);
    return result;
}

// number -= other, which is not larger
void subtract(Natural& number, const Natural& other) {
    int64_t borrow = 0;
    for (size_t i = 0; i < number.size(); ++i) {
        borrow += static_cast<int64_t>(number[i]) - (i < other.size() ? other[i] : 0);
        number[i] = static_cast<uint32_t>(borrow);
        borrow >>= 32;
    }
    trim(number);
}

int bits(const Natural& number) {
    int count = 32 * static_cast<int>(number.size());
    for (uint32_t top = number.empty() ? 1 : number.back(); top && !(top >> 31); top <<= 1) --count;
    return number.empty() ? 0 : count;
}

Natural shifted(Natural number, int count) {
    for (; count >= 31; count -= 31) multiply_add(number, 1u << 31, 0);
    multiply_add(number, 1u << count, 0);
    return number;
}

// Return quotient and remainder.
pair<Natural, Natural> divided(const Natural& number, const Natural& divisor) {
    Natural quotient(number.size()), rest;
    for (int bit = bits(number) - 1; bit >= 0; --bit) {
        uint32_t low = number[static_cast<size_t>(bit / 32)] >> (bit % 32) & 1;
        multiply_add(rest, 2, low);
        if (is_less(rest, divisor)) continue;
        subtract(rest, divisor);
        quotient[static_cast<size_t>(bit / 32)] |= 1u << (bit % 32);
    }
    trim(quotient);
    return {quotient, rest};
}

Natural natural(const string& digits) {
    Natural number;
    for (char digit : digits) multiply_add(number, 10, static_cast<uint32_t>(digit - '0'));
    return number;
}

string decimal(Natural number) {
    string digits;
    while (!number.empty()) {
        auto [quotient, rest] = divided(number, {10});
        digits.insert(digits.begin(), static_cast<char>('0' + (rest.empty() ? 0 : rest[0])));
        number = quotient;
    }
    return digits.empty() ? "0" : digits;
}

// An exact number: a fraction in its lowest terms.
class Fraction {
public:
    Fraction(Natural above, Natural below, bool is_negative = false) {
        Natural divisor = above, rest = below;
        while (!rest.empty()) divisor = std::exchange(rest, divided(divisor, rest).second);
        numerator = divided(above, divisor).first;
        denominator = divided(below, divisor).first;
        negative = is_negative && !numerator.empty();
    }

    // Read 0.485, 1e-3 or 1/255; throws ValueError for anything else.
    static Fraction read(const string& text) {
        string rest = strip(text);
        bool is_negative = !rest.empty() && rest[0] == '-';
        if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.erase(0, 1);
        size_t mark = rest.find('/');
        if (mark != string::npos) {
            string above = rest.substr(0, mark), below = rest.substr(mark + 1);
            if (!is_decimal(above) || !is_decimal(below) || natural(below).empty())
                throw ValueError("not a number");
            return Fraction(natural(above), natural(below), is_negative);
        }
        mark = rest.find_first_of("eE");
        int exponent = 0;
        if (mark != string::npos) {
            string digits = rest.substr(mark + 1);
            bool down = !digits.empty() && digits[0] == '-';
            if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.erase(0, 1);
            if (!is_decimal(digits) || digits.size() > 3) throw ValueError("not a number");
            exponent = down ? -std::stoi(digits) : std::stoi(digits);
            rest.resize(mark);
        }
        mark = rest.find('.');
        if (mark != string::npos) {
            exponent -= static_cast<int>(rest.size() - mark - 1);
            rest.erase(mark, 1);
        }
        if (!is_decimal(rest)) throw ValueError("not a number");
        Natural above = natural(rest), below = {1};
        for (int i = 0; i < exponent; ++i) multiply_add(above, 10, 0);
        for (int i = 0; i > exponent; --i) multiply_add(below, 10, 0);
        return Fraction(above, below, is_negative);
    }

    // Return the float nearest to it, half to even, as Python does.
    double value() const {
        if (numerator.empty()) return 0;
        int shift = 63 - (bits(numerator) - bits(denominator));  // the quotient has 63 or 64 bits
        auto [quotient, rest] = divided(shifted(numerator, std::max(shift, 0)),
                                        shifted(denominator, std::max(-shift, 0)));
        uint64_t digits = quotient[0];
        if (quotient.size() > 1) digits |= static_cast<uint64_t>(quotient[1]) << 32;
        digits |= !rest.empty();  // below the bits of a float, it decides a tie
        double nearest = std::ldexp(static_cast<double>(digits), -shift);
        return negative ? -nearest : nearest;
    }

    // Return it as `number` reads it: decimal where that is exact, else as a quotient.
    string text() const {
        string digits = shortest(value());
        if (read(digits) == *this) return digits;
        string quotient = ::decimal(numerator) + "/" + ::decimal(denominator);
        return (negative ? "-" : "") + quotient;
    }

    Fraction operator*(const Fraction& other) const {
        return {product(numerator, other.numerator), product(denominator, other.denominator),
                negative != other.negative};
    }
    Fraction operator/(const Fraction& other) const { return *this * other.inverse(); }
    Fraction inverse() const { return {denominator, numerator, negative}; }
    bool operator==(const Fraction& other) const {
        return negative == other.negative && numerator == other.numerator &&
               denominator == other.denominator;
    }

private:
    Natural numerator, denominator;
    bool negative = false;
};

// Read a number exactly: 0.485 or 1/255, or the float nearest to it. A flag and the metadata thus
// make the same blob to the bit. Throws ValueError for anything else, and beyond 1e9.
Fraction number(const string& text) {
    if (text.size() > 100) throw ValueError(text.substr(0, 20) + "... has too many digits");
    Fraction written = Fraction::read(text);
    double nearest = written.value();
    if (std::abs(nearest) > 1e9) throw ValueError(text + " is too large");
    for (int below = 1; below <= 1000; ++below) {
        double above = std::nearbyint(std::abs(nearest) * below);
        if (above / below == std::abs(nearest))
            return {natural(format("%.0f", above)), natural(std::to_string(below)), nearest < 0};
    }
    return written;
}

// Read a number as `number` does; throws ValueError for one that is not above 1e-9.
Fraction positive(const string& text) {
    Fraction found = number(text);
    if (found.value() <= 1e-9) throw ValueError("found " + text + "; expected a number above 0");
    return found;
}

int integer(const string& text) {
    string digits = strip(text);
    if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.erase(0, 1);
    if (!is_decimal(digits)) throw ValueError("not an integer");
    return static_cast<int>(
        std::clamp(std::strtol(strip(text).c_str(), nullptr, 10), -1000000000L, 1000000000L));
}

// JSON

// A value of JSON. A number keeps its text, so that it can be read exactly.
struct Json {
    enum Kind { NONE, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT };
    Kind kind = NONE;
    string text;                         // of a number or string; "true" or "false"
    vector<Json> items;                  // of an array
    vector<pair<string, Json>> members;  // of an object

    // Return the member of a name, null where there is none.
    const Json* find(const string& name) const {
        for (auto member = members.rbegin(); member != members.rend(); ++member)
            if (member->first == name) return &member->second;
        return nullptr;
    }

    const Json& at(const string& name) const {
        const Json* member = find(name);
        if (!member) throw ValueError("found no key '" + name + "'");
        return *member;
    }

    string as_string() const {
        if (kind != STRING) throw ValueError("found " + shown() + "; expected a string");
        return text;
    }

    double as_number() const {
        if (kind != NUMBER) throw ValueError("found " + shown() + "; expected a number");
        return std::strtod(text.c_str(), nullptr);
    }

    // Return the text of a number as Python prints it.
    string digits() const {
        double value = as_number();
        bool is_integer = text.find_first_not_of("-0123456789") == string::npos;
        return is_integer || !std::isfinite(value) ? text : shortest(value);
    }

    vector<Json> as_array() const {
        if (kind != ARRAY) throw ValueError("found " + shown() + "; expected an array");
        return items;
    }

    bool is_true() const {
        switch (kind) {
            case NONE:
                return false;
            case BOOLEAN:
                return text == "true";
            case NUMBER:
                return as_number() != 0;
            case STRING:
                return !text.empty();
            case ARRAY:
                return !items.empty();
            default:
                return !members.empty();
        }
    }

    string shown() const {
        const char* names[] = {"null", "", "", "", "an array", "an object"};
        return kind == STRING ? "'" + text + "'" : text.empty() ? names[kind] : text;
    }
};

// Reads a text as JSON; throws ValueError where it is none.
class JsonReader {
public:
    explicit JsonReader(const string& content) : text(content) {}

    Json read() {
        Json found = value(0);
        blank();
        if (place != text.size()) throw ValueError("not JSON");
        return found;
    }

private:
    const string& text;
    size_t place = 0;

    void blank() { place = std::min(text.find_first_not_of(" \t\r\n", place), text.size()); }

    char peek() {
        blank();
        return place < text.size() ? text[place] : '\0';
    }

    bool take(const string& word) {
        blank();
        if (text.compare(place, word.size(), word)) return false;
        place += word.size();
        return true;
    }

    void expect(const string& word) {
        if (!take(word)) throw ValueError("not JSON");
    }

    Json value(int depth) {
        if (depth > 100) throw ValueError("nested too deep");
        Json found;
        if (peek() == '"') {
            found.kind = Json::STRING;
            found.text = quoted();
        } else if (take("[")) {
            found.kind = Json::ARRAY;
            while (!take("]")) {
                if (!found.items.empty()) expect(",");
                found.items.push_back(value(depth + 1));
            }
        } else if (take("{")) {
            found.kind = Json::OBJECT;
            while (!take("}")) {
                if (!found.members.empty()) expect(",");
                if (peek() != '"') throw ValueError("not JSON");
                string name = quoted();
                expect(":");
                found.members.emplace_back(name, value(depth + 1));
            }
        } else {
            scalar(found);
        }
        return found;
    }

    void scalar(Json& found) {
        for (const char* word : {"null", "true", "false", "NaN", "Infinity", "-Infinity"}) {
            if (!take(word)) continue;
            bool is_word = std::islower(static_cast<unsigned char>(word[0]));
            found.kind = !is_word ? Json::NUMBER : word[0] == 'n' ? Json::NONE : Json::BOOLEAN;
            found.text = found.kind == Json::NONE ? "" : word;
            return;
        }
        size_t end = text.find_first_not_of("+-.0123456789eE", place);
        found.text = text.substr(place, end == string::npos ? end : end - place);
        found.kind = Json::NUMBER;
        char* rest = nullptr;
        std::strtod(found.text.c_str(), &rest);
        if (found.text.empty() || *rest) throw ValueError("not JSON");
        place += found.text.size();
    }

    string quoted() {
        string found;
        for (++place; place < text.size() && text[place] != '"'; ++place) {
            if (text[place] != '\\') {
                found += text[place];
                continue;
            }
            const string codes = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
            char code = ++place < text.size() ? text[place] : '\0';
            size_t index = codes.find(code);
            if (code == 'u') append(found, escaped());
            else if (code && index != string::npos) found += meanings[index];
            else throw ValueError("not JSON");
        }
        if (place >= text.size()) throw ValueError("not JSON");
        ++place;
        return found;
    }

    // Return the code point of \uXXXX, or of two that make one; `place` ends on the last digit.
    uint32_t escaped() {
        uint32_t value = hexadecimal();
        if (value < 0xD800 || value >= 0xDC00 || text.compare(place + 1, 2, "\\u")) return value;
        size_t before = place;
        place += 2;
        uint32_t low = hexadecimal();
        if (0xDC00 <= low && low < 0xE000) return 0x10000 + ((value - 0xD800) << 10) + low - 0xDC00;
        place = before;
        return value;
    }

    uint32_t hexadecimal() {
        string digits = text.substr(std::min(place + 1, text.size()), 4);
        if (digits.size() != 4 ||
            digits.find_first_not_of("0123456789abcdefABCDEF") != string::npos)
            throw ValueError("not JSON");
        place += 4;
        return static_cast<uint32_t>(std::strtoul(digits.c_str(), nullptr, 16));
    }

    static void append(string& found, uint32_t value) {
        auto low = [&](int shift) { found += static_cast<char>(0x80 | (value >> shift & 0x3F)); };
        if (value < 0x80) {
            found += static_cast<char>(value);
        } else if (value < 0x800) {
            found += static_cast<char>(0xC0 | value >> 6);
            low(0);
        } else if (value < 0x10000) {
            found += static_cast<char>(0xE0 | value >> 12);
            low(6), low(0);
        } else {
            found += static_cast<char>(0xF0 | value >> 18);
            low(12), low(6), low(0);
        }
    }
};

// Return the content of an entry of the metadata, nothing for one of another program's.
optional<Json> read_json(const string& text) {
    try {
        return JsonReader(text).read();
    } catch (const ValueError&) {
        return {};
    }
}

string quoted(const string& text) {
    string found = "\"";
    for (char one : valid_utf8(text)) {
        auto byte = static_cast<unsigned char>(one);
        if (one == '"' || one == '\\') found += string("\\") + one;
        else if (byte < 0x20) found += format("\\u%04x", byte);
        else found += one;
    }
    return found + "\"";
}

// Files

// Return a system's reason in lower case, as part of a line.
string reason_of(const std::error_code& error) { return lower(error.message()); }

string reason_of_errno() { return reason_of({errno, std::generic_category()}); }

// Refuse what is not a file, whose reading may never end, and a file of more than `most` bytes.
uintmax_t check_file(const fs::path& path, uintmax_t most) {
    std::error_code error;
    fs::file_status found = fs::status(path, error);
    if (!fs::exists(found)) refuse(path.string() + ": " + reason_of(error));
    if (!fs::is_regular_file(found)) {
        string kind = fs::is_directory(found) ? "is a directory" : "not a regular file";
        refuse(path.string() + ": " + kind + "; expected a file");
    }
    uintmax_t size = fs::file_size(path, error);
    if (error) refuse(path.string() + ": " + reason_of(error));
    if (size > most) {
        string expected = "; expected at most " + std::to_string(most);
        refuse(path.string() + ": found " + std::to_string(size) + " bytes" + expected);
    }
    return size;
}

// Return the content of a file, of at most so many bytes.
string read_file(const fs::path& path, uintmax_t most) {
    string data(check_file(path, most), '\0');
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    file.read(data.data(), static_cast<std::streamsize>(data.size()));
    if (!file) refuse(path.string() + ": " + (errno ? reason_of_errno() : "cannot be read"));
    return data;
}

// This tool's files carry it: a picture after its header, a video and arrays at their end.
const string MARK("Software\0run_onnx", 17);
const string PNG_START = "\x89PNG\r\n\x1a\n";

[[noreturn]] void refuse_target(const fs::path& path, const string& reason, const string& flag) {
    string other = " (" + flag + " names another place)";
    refuse(path.string() + ": cannot be written: " + reason + other);
}

// Return whether a path is a file that this tool wrote.
bool is_own(const fs::path& path) {
    std::error_code error;
    if (!fs::is_regular_file(fs::symlink_status(path, error))) return false;
    std::ifstream file(path, std::ios::binary);
    string part(1024, '\0');
    file.read(part.data(), 1024);
    part.resize(static_cast<size_t>(file.gcount()));
    if (!starts_with(part, PNG_START)) {
        file.clear();
        auto size = static_cast<std::streamoff>(fs::file_size(path, error));
        file.seekg(std::max<std::streamoff>(0, size - 64));
        part.assign(64, '\0');
        file.read(part.data(), 64);
        part.resize(static_cast<size_t>(file.gcount()));
    }
    return part.find(MARK) != string::npos;
}

// Create the folder of a file to write. Refuses to replace anything but what this tool wrote, and
// the input `source`; `flag` names another place.
void check_target(const fs::path& path, const fs::path& source, const string& flag) {
    std::error_code error;
    if (fs::symlink_status(path, error).type() != fs::file_type::not_found) {
        for (const fs::path& input : {source, source / path.filename()})
            if (fs::equivalent(path, input, error))
                refuse_target(path, "it is the input itself", flag);
        if (!is_own(path)) refuse_target(path, "it is there, and this tool did not write it", flag);
    }
    error.clear();
    if (!path.parent_path().empty()) fs::create_directories(path.parent_path(), error);
    if (error) refuse_target(path, reason_of(error), flag);
}

// A file beside `path`, which replaces it on `commit`, and is removed otherwise.
class Partial {
public:
    Partial(const fs::path& target, const string& flag_) : path(target), flag(flag_) {
        string name = "." + std::to_string(getpid()) + ".partial" + target.extension().string();
        partial = target.parent_path() / name;
    }
    Partial(const Partial&) = delete;
    Partial& operator=(const Partial&) = delete;
    ~Partial() {
        std::error_code error;
        fs::remove(partial, error);
    }

    void append(const string& data) const {
        errno = 0;
        std::ofstream file(partial, std::ios::binary | std::ios::app);
        file.write(data.data(), static_cast<std::streamsize>(data.size()));
        file.close();
        if (!file) refuse_target(path, errno ? reason_of_errno() : "the system refuses", flag);
    }

    void commit() const {
        std::error_code error;
        fs::rename(partial, path, error);
        if (error) refuse_target(path, reason_of(error), flag);
    }

    const fs::path path;
    fs::path partial;

private:
    const string flag;
};

void write_file(const fs::path& path, const string& data, const string& flag) {
    Partial file(path, flag);
    file.append(data);
    file.commit();
}

// Return a chunk of text of a PNG file.
string chunk(const string& data) {
    auto bytes = [](uint32_t value) {
        string four;
        for (int shift = 24; shift >= 0; shift -= 8) four += static_cast<char>(value >> shift);
        return four;
    };
    string content = "tEXt" + data;
    uint32_t checksum = ~0u;
    for (char byte : content) {
        checksum ^= static_cast<unsigned char>(byte);
        for (int bit = 0; bit < 8; ++bit)
            checksum = checksum >> 1 ^ (checksum & 1 ? 0xEDB88320u : 0);
    }
    return bytes(static_cast<uint32_t>(data.size())) + content + bytes(~checksum);
}

// Shapes and arrays

using Shape = vector<int>;

Shape shape_of(const cv::Mat& array) { return {array.size.p, array.size.p + array.dims}; }

string text_of(const Shape& shape) {
    vector<string> sides;
    for (int side : shape) sides.push_back(std::to_string(side));
    return "(" + join(sides, ", ") + (sides.size() == 1 ? ",)" : ")");
}

// Return the bytes of an array, which is continuous float32, as an .npy file, version 1.0.
string npy(const cv::Mat& array) {
    string shape = text_of(shape_of(array));
    string header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
    header += string(63 - (10 + header.size()) % 64, ' ') + "\n";
    string start = "\x93NUMPY\x01";
    start += {'\0', static_cast<char>(header.size()), static_cast<char>(header.size() >> 8)};
    return start + header + string(array.ptr<char>(), 4 * array.total());
}

// Read an .npy file of float32 in C order; refuses any other.
cv::Mat read_npy(const fs::path& path) {
    string data = read_file(path, MAX_IMAGE);
    string expected = "; expected an .npy file of float32, version 1.0, in C order";
    size_t start = 10;
    if (starts_with(data, string("\x93NUMPY\x01\0", 8)) && data.size() >= start) {
        auto byte = [&](size_t place) { return static_cast<unsigned char>(data[place]); };
        size_t end = start + byte(8) + 256u * byte(9);
        string header = data.substr(start, end - start);
        size_t mark = header.find("'shape': (");
        bool fits = header.find("'descr': '<f4'") != string::npos && mark != string::npos &&
                    header.find("'fortran_order': False") != string::npos;
        Shape shape;
        size_t total = 1;
        if (fits) {
            string sides = header.substr(mark + 10, header.find(')', mark) - mark - 10);
            std::replace(sides.begin(), sides.end(), ',', ' ');
            std::istringstream list(sides);
            for (int side; list >> side; shape.push_back(side)) total *= static_cast<size_t>(side);
            fits = !shape.empty() && total <= MAX_IMAGE && data.size() == end + 4 * total;
        }
        if (fits) {
            cv::Mat array(shape, CV_32F);
            std::memcpy(array.data, data.data() + end, 4 * total);
            return array;
        }
    }
    refuse(path.string() + ": found " + std::to_string(data.size()) + " other bytes" + expected);
}

// The ONNX file

struct Bytes {
    const uint8_t* data = nullptr;
    size_t size = 0;
    string text() const { return valid_utf8(string(reinterpret_cast<const char*>(data), size)); }
};

// A value of a protobuf message: a number, or the bytes of a float, string or message within.
struct Value {
    bool is_number = false;
    uint64_t number = 0;
    Bytes bytes;
};

// The values of a protobuf message by field number.
using Message = std::map<uint64_t, vector<Value>>;

// Return the number at a place of a protobuf message; `place` moves behind it.
uint64_t varint(const Bytes& message, size_t& place) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (place >= message.size) throw ValueError("the file ends too early");
        uint8_t byte = message.data[place++];
        value |= static_cast<uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    throw ValueError("a number has more than ten bytes");
}

// Decode a protobuf message. See "Encoding" in the documentation of Protocol Buffers. Throws
// ValueError for bytes that are not a message.
Message fields(const Bytes& message) {
    Message found;
    for (size_t place = 0; place < message.size;) {
        uint64_t key = varint(message, place), wire_type = key % 8;
        Value value;
        if (wire_type == 0) {
            value.is_number = true;
            value.number = varint(message, place);
        } else {
            if (wire_type != 1 && wire_type != 2 && wire_type != 5)
                throw ValueError("found the wire type " + std::to_string(wire_type));
            uint64_t size = wire_type == 1 ? 8 : wire_type == 5 ? 4 : varint(message, place);
            if (size > message.size - place) throw ValueError("the file ends too early");
            value.bytes = {message.data + place, static_cast<size_t>(size)};
            place += static_cast<size_t>(size);
        }
        found[key / 8].push_back(value);
    }
    return found;
}

const vector<Value>& values(const Message& message, uint64_t field) {
    static const vector<Value> none;
    auto found = message.find(field);
    return found == message.end() ? none : found->second;
}

Bytes bytes_of(const Value& value) {
    if (value.is_number) throw ValueError("found a number; expected bytes");
    return value.bytes;
}

vector<Message> messages(const Message& message, uint64_t field) {
    vector<Message> found;
    for (const Value& value : values(message, field)) found.push_back(fields(bytes_of(value)));
    return found;
}

// Return the text of a field, empty where there is none.
string text_of(const Message& message, uint64_t field) {
    const vector<Value>& found = values(message, field);
    return found.empty() ? "" : bytes_of(found.back()).text();
}

// Return the number of a field, nothing where there is none.
optional<uint64_t> number_of(const Message& message, uint64_t field) {
    const vector<Value>& found = values(message, field);
    if (found.empty()) return {};
    if (!found.back().is_number) throw ValueError("found bytes; expected a number");
    return found.back().number;
}

// Return the numbers of a repeated field, packed or not.
vector<uint64_t> numbers(const Message& message, uint64_t field) {
    vector<uint64_t> found;
    for (const Value& value : values(message, field)) {
        if (value.is_number) found.push_back(value.number);
        else
            for (size_t place = 0; place < value.bytes.size;)
                found.push_back(varint(value.bytes, place));
    }
    return found;
}

// What an ONNX file says: the name for its pictures, the metadata, the height and width of its
// input unless they are dynamic, and the names of its outputs.
struct Model {
    fs::path path;
    string name;
    std::map<string, string> metadata;
    optional<cv::Size> fixed;
    vector<string> outputs;
};

const uint64_t FLOAT32 = 1, EXTERNAL = 1;  // of TensorProto.DataType and TensorProto.DataLocation

// An input's element type, as a number of onnx.proto, and its shape; a dynamic dimension is empty.
struct Input {
    string name;
    uint64_t element = 0;
    vector<optional<uint64_t>> shape;

    bool is_image() const {
        auto is_or_dynamic = [&](size_t axis, uint64_t side) {
            return !shape[axis] || *shape[axis] == side;
        };
        bool fits = element == FLOAT32 && shape.size() == 4;
        return fits && is_or_dynamic(0, 1) && is_or_dynamic(1, 3);
    }

    string shown() const {
        vector<string> sides;
        for (auto side : shape) sides.push_back(side && *side ? std::to_string(*side) : "?");
        return name + " (" + join(sides, " x ") + ")";
    }
};

Input input_of(const Message& value) {
    Input input{text_of(value, 1), 0, {}};
    for (const Message& type : messages(value, 2))
        for (const Message& tensor : messages(type, 1)) {
            input.element = number_of(tensor, 1).value_or(0);
            for (const Message& shape : messages(tensor, 2))
                for (const Message& side : messages(shape, 1)) {
                    optional<uint64_t> length = number_of(side, 1);
                    if (length && *length >> 63) length.reset();  // a negative one is dynamic too
                    input.shape.push_back(length);
                }
            return input;
        }
    return input;
}

// Yield every tensor of a model: of graphs and subgraphs, attributes, functions and sparse tensors.
void each_tensor(const string& kind, const Message& message,
                 const std::function<void(const Message&)>& yield, int depth = 0) {
    // The fields that may hold tensors, by the message that they belong to.
    static const std::map<string, vector<pair<uint64_t, string>>> parts{
        {"model", {{7, "graph"}, {20, "training"}, {25, "function"}}},
        {"training", {{1, "graph"}, {2, "graph"}}},
        {"graph", {{1, "node"}, {5, "tensor"}, {15, "sparse"}}},
        {"function", {{7, "node"}, {11, "attribute"}}},
        {"node", {{5, "attribute"}}},
        {"attribute",
         {{5, "tensor"},
          {6, "graph"},
          {10, "tensor"},
          {11, "graph"},
          {22, "sparse"},
          {23, "sparse"}}},
        {"sparse", {{1, "tensor"}, {2, "tensor"}}},
        {"tensor", {}},
    };
    if (depth > 300) throw ValueError("nested too deep");
    if (kind == "tensor") yield(message);
    for (const auto& [field, part] : parts.at(kind))
        for (const Message& inner : messages(message, field))
            each_tensor(part, inner, yield, depth + 1);
}

// Return the bits of an element of a type, 0 for one that has no fixed number.
int bits_of_type(uint64_t type) {
    static const int bits_by_type[] = {0,  32, 8, 8, 16, 16, 32, 64, 0, 8, 16, 64,
                                       32, 64, 0, 0, 16, 8,  8,  8,  8, 4, 4,  4};
    return type < std::size(bits_by_type) ? bits_by_type[type] : 0;
}

// Return how many elements a tensor has in the fields of their types, packed or not.
uint64_t elements(const Message& tensor) {
    uint64_t count = 0;
    for (auto [field, size] : {pair(4, 4), {10, 8}, {5, 0}, {7, 0}, {11, 0}})  // 0: varints
        for (const Value& value : values(tensor, static_cast<uint64_t>(field))) {
            if (value.is_number) {
                ++count;
                continue;
            }
            const uint8_t* end = value.bytes.data + value.bytes.size;
            auto last = [](uint8_t byte) { return byte < 0x80; };  // of a varint
            count += size ? value.bytes.size / static_cast<size_t>(size)
                          : static_cast<uint64_t>(std::count_if(value.bytes.data, end, last));
        }
    return count;
}

// Refuse external data unless it is `needed` bytes of a regular file in the model's folder.
void check_external_data(const fs::path& path, const string& name, const vector<Message>& entries,
                         optional<uint64_t> needed) {
    string size_text = needed ? std::to_string(*needed) : "None";
    std::map<string, string> given{{"offset", "0"}, {"length", size_text}};
    std::set<string> keys;
    vector<string> shown;
    for (const Message& entry : entries) {
        given[text_of(entry, 1)] = text_of(entry, 2);
        keys.insert(text_of(entry, 1));
        shown.push_back(text_of(entry, 1) + " '" + text_of(entry, 2) + "'");
    }
    string found = name + ": external data: found ";
    found += shown.empty() ? "no location" : join(shown, ", ");
    std::error_code error;
    fs::path folder = fs::canonical(fs::absolute(path).parent_path(), error);
    fs::path place = error ? fs::path() : fs::canonical(folder / given["location"], error);
    auto inside = std::mismatch(folder.begin(), folder.end(), place.begin(), place.end());
    bool is_inside = inside.first == folder.end() && inside.second != place.end();
    string reason = error ? reason_of(error) : "not a regular file there";
    bool is_file = !error && is_inside && fs::is_regular_file(place, error);
    if (!is_file || fs::path(given["location"]).is_absolute())
        refuse(found + " (" + reason + "); expected a file in the folder of the model");
    uintmax_t size = fs::file_size(place, error);
    auto limited = [](const string& text) { return is_decimal(text) && text.size() < 19; };
    bool fits = limited(given["offset"]) && given["length"] == size_text && needed &&
                keys.size() == entries.size();
    if (!fits || error || *needed > size || std::stoull(given["offset"]) > size - *needed) {
        string expected = size_text + " of the " + std::to_string(size) + " bytes of that file";
        refuse(found + "; expected " + expected);
    }
}

// Refuse a tensor that OpenCV would read beyond its end, or from a file outside the folder of the
// model.
void check_tensor(const fs::path& path, const Message& tensor) {
    string name = path.string() + ": tensor '" + text_of(tensor, 8) + "'";
    vector<uint64_t> shape = numbers(tensor, 1);
    vector<string> sides;
    int bits = bits_of_type(number_of(tensor, 2).value_or(0));
    uint64_t count = 1, most = uint64_t(1) << 56;
    for (uint64_t side : shape) {
        sides.push_back(std::to_string(static_cast<int64_t>(side)));
        count = side && count > most / side ? most : count * side;
    }
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) count = 0;
    uint64_t needed = (count * static_cast<uint64_t>(bits) + 7) / 8;
    vector<Message> entries = messages(tensor, 13);
    if (!entries.empty() || number_of(tensor, 14).value_or(0) == EXTERNAL) {
        check_external_data(path, name, entries, bits ? optional(needed) : std::nullopt);
    } else if (bits >= 8) {
        uint64_t stored = 0;
        for (const Value& raw : values(tensor, 9)) stored += bytes_of(raw).size;
        if (!tensor.count(9)) stored = elements(tensor) * static_cast<uint64_t>(bits) / 8;
        if (stored != needed) {
            string shown = sides.empty() ? "one element" : join(sides, " x ");
            refuse(name + ": found " + std::to_string(stored) + " bytes; expected " +
                   std::to_string(needed) + " for its shape, " + shown);
        }
    }
}

// Return the name for the pictures of a model. The pipeline calls every file model.onnx; the
// metadata names the model.
string name_of(const fs::path& path, string known) {
    for (char& one : known) {
        bool is_plain = std::isalnum(static_cast<unsigned char>(one)) || (one & 0x80) ||
                        string("_.+-").find(one) != string::npos;
        if (!is_plain) one = '_';
    }
    string stem = path.stem().string();
    if (known.empty()) return stem;
    return stem == known || stem == "model" ? known : known + "-" + stem;
}

// Read an ONNX file's metadata and check what OpenCV does not: that its only input is one image,
// and that its tensors are as large as they claim to be and lie in its folder. The numbers of the
// fields are those of onnx.proto.
Model read_model(const fs::path& path) {
    string data = read_file(path, std::numeric_limits<uintmax_t>::max());
    Model found;
    found.path = path;
    vector<Input> inputs;
    try {
        Message model = fields({reinterpret_cast<const uint8_t*>(data.data()), data.size()});
        vector<Message> graphs = messages(model, 7);
        if (graphs.size() != 1)
            throw ValueError("it has " + std::to_string(graphs.size()) + " graphs");
        const Message& graph = graphs[0];
        std::set<string> constants;
        for (const Message& tensor : messages(graph, 5)) constants.insert(text_of(tensor, 8));
        for (const Message& value : messages(graph, 11)) {
            Input input = input_of(value);
            if (!constants.count(input.name)) inputs.push_back(input);
        }
        for (const Message& value : messages(graph, 12)) found.outputs.push_back(text_of(value, 1));
        for (const Message& entry : messages(model, 14))
            found.metadata[text_of(entry, 1)] = text_of(entry, 2);
        if (values(graph, 1).empty()) throw ValueError("it has no nodes");
        each_tensor("model", model, [&](const Message& tensor) { check_tensor(path, tensor); });
    } catch (const ValueError& error) {
        refuse(path.string() + ": not an ONNX model, or only a part of one: " + error.what());
    }
    if (inputs.size() != 1 || !inputs[0].is_image()) {
        vector<string> shown;
        for (const Input& input : inputs) shown.push_back(input.shown());
        refuse(path.string() + ": found the inputs " +
               (shown.empty() ? "none" : join(shown, ", ")) +
               "; expected one of float32 images (1 x 3 x height x width)");
    }
    auto side = [&](size_t axis) {  // in pixels, 0 where it is dynamic
        uint64_t most = std::numeric_limits<int>::max();
        return static_cast<int>(std::min(inputs[0].shape[axis].value_or(0), most));
    };
    if (side(2) && side(3)) found.fixed = cv::Size(side(3), side(2));
    found.name = name_of(path, found.metadata["model"]);
    return found;
}

// The command line

struct Flag {
    string name;
    vector<string> values;  // names of what it takes; none: a switch
    string help;
    vector<string> choices = {};
    bool has_opposite = false;
};

struct Group {
    string title;
    vector<Flag> flags;
};

const vector<string> TASKS{"classification", "segmentation"};
const vector<pair<string, int>> INTERPOLATIONS{{"nearest", cv::INTER_NEAREST},
                                               {"linear", cv::INTER_LINEAR},
                                               {"cubic", cv::INTER_CUBIC},
                                               {"area", cv::INTER_AREA}};
const vector<string> EXIF{"ignore", "apply"};

const vector<Group>& groups() {
    const vector<string> filters{"nearest", "linear", "cubic", "area"};
    static const vector<Group> all{
        {"",
         {{"help", {}, "print this"},
          {"model", {"FILE"}, "the ONNX file"},
          {"input",
           {"FILE"},
           "an image (of an animation, the first), a folder of images, a video file, or the index\n"
           "of a camera, such as 0"},
          {"task",
           {"TASK"},
           "classification or segmentation; default: the model's metadata",
           TASKS},
          {"output-name",
           {"NAME"},
           "the output to take, of a model that has several; default: the first"},
          {"classes",
           {"FILE"},
           "a text file with one class per line in the order of the ids: `name`, or `name r g b`;\n"
           "default: the model's metadata"},
          {"output",
           {"FOLDER"},
           "where pictures go, and the MJPG video of a video or camera; they replace only what "
           "this\n"
           "tool wrote; default: plots/demo"},
          {"show",
           {},
           "open a window: any key continues, q or Esc quits; a video is shown, not written"},
          {"save",
           {"FILE"},
           "write the blob and the output of one image as FILE.blob.npy and FILE.output.npy, for\n"
           "np.load, and no picture"},
          {"verbose", {}, "print the names of the layers that OpenCV created"}}},
        {"from an image to the blob\n"
         "  The image is resized and cropped; then blob = (image - mean) * scale / std. The "
         "defaults\n"
         "  are the model's metadata, else the values below. A number may be a fraction, 1/255.\n"
         "  Switches have an opposite: --crop and --no-crop.",
         {{"scale", {"SCALE"}, "factor of the values 0 to 255 minus mean; default: 1/255"},
          {"mean", {"R", "G", "B"}, "of the values 0 to 255; default: 123.675 116.28 103.53"},
          {"std", {"R", "G", "B"}, "of the scaled values, 0 to 1; default: 0.229 0.224 0.225"},
          {"rsz-height", {"PIXELS"}, "resize to this height; 0: do not resize"},
          {"rsz-width", {"PIXELS"}, "and to this width; both default to 256, segmentation: 0"},
          {"resize", {"PIXELS"}, "both; with --keep-aspect this is the shorter side"},
          {"height", {"PIXELS"}, "of the blob; 0: as resized"},
          {"width", {"PIXELS"}, "of the blob; both default to 224, segmentation: 0"},
          {"interpolation", {"FILTER"}, "nearest, linear, cubic or area; default: linear", filters},
          {"rgb",
           {},
           "the blob's channels are red, green, blue (default), not blue, green, red",
           {},
           true},
          {"keep-aspect",
           {},
           "resize until the image just covers both sides; default: to these sides",
           {},
           true},
          {"crop",
           {},
           "cut the blob out of the centre (default), not resize to it (segmentation)",
           {},
           true},
          {"antialias", {}, "shrink by averaging areas; default: by the interpolation", {}, true},
          {"exif",
           {"CHOICE"},
           "apply: turn a photo as its EXIF orientation says; default: ignore, as torchvision does",
           EXIF}}},
        {"OpenCV",
         {{"engine", {"ENGINE"}, "auto, or of OpenCV 5: classic, new; default: auto"},
          {"backend", {"BACKEND"}, "DNN_BACKEND_*: default, opencv, cuda, ...; default: default"},
          {"target", {"TARGET"}, "DNN_TARGET_*: cpu, opencl, cuda, ...; default: cpu"},
          {"threads", {"THREADS"}, "0: as many as OpenCV uses by itself; default: 0"}}},
        {"a bundle that verifies itself",
         {{"verify",
           {},
           "compare decoding, preprocessing and network on this machine with the answers in the\n"
           "bundle; needs no --model and no --input"},
          {"bundle", {"FOLDER"}, "the bundle's folder; default: the current one"},
          {"report", {"FILE"}, "write the result as JSON"}}},
    };
    return all;
}

string help() {
    string text =
        "usage: run_onnx --model FILE --input FILE [flags]\n"
        "       run_onnx --verify [--bundle FOLDER] [--report FILE]\n\n"
        "Run a classification or segmentation model on images or video, with OpenCV alone. Task,\n"
        "preprocessing and class names come from the ONNX file's metadata; flags override them.\n";
    for (const Group& group : groups()) {
        text += "\n" + (group.title.empty() ? "" : group.title + "\n\n");
        for (const Flag& flag : group.flags) {
            string values = join(flag.values, " "), line;
            text += "  --" + flag.name + (values.empty() ? "" : " " + values) + "\n";
            std::istringstream lines(flag.help);
            while (std::getline(lines, line)) text += "        " + line + "\n";
        }
    }
    return text + "\nexit codes: 0 done; 1 no answer, or a step of --verify fails; 2 wrong input\n";
}

[[noreturn]] void refuse_flag(const string& message) {
    refuse(message + " (--help explains the flags)");
}

// The command line; flags that are not given are empty.
struct Arguments {
    fs::path model, input, classes, save, bundle, report, output = "plots/demo";
    optional<string> task, output_name, interpolation, exif, engine, backend, target;
    optional<Fraction> scale;
    vector<Fraction> mean, std;
    optional<int> rsz_height, rsz_width, resize, height, width, threads;
    optional<bool> rgb, keep_aspect, crop, antialias;
    bool show = false, verbose = false, verify = false, help = false;
};

// Return the flag of a name, --NAME or --no-NAME, and whether it is switched off; refuses another.
pair<const Flag*, bool> find_flag(const string& name) {
    for (const Group& group : groups())
        for (const Flag& flag : group.flags) {
            if (name == "--" + flag.name) return {&flag, false};
            if (flag.has_opposite && name == "--no-" + flag.name) return {&flag, true};
        }
    refuse_flag("unrecognized arguments: " + name);
}

// Refuse too few values of a flag, and those that it does not take.
void check_values(const Flag& flag, const vector<string>& found) {
    string argument = "argument --" + flag.name + ": ";
    size_t count = flag.values.size();
    if (!count && !found.empty()) refuse_flag(argument + "found a value; expected none");
    if (found.size() != count)
        refuse_flag(argument + "expected " +
                    (count == 1 ? "one argument" : std::to_string(count) + " arguments"));
    for (const string& value : found) {
        if (value.empty()) refuse_flag(argument + "the name is empty");
        const vector<string>& known = flag.choices;
        if (!known.empty() && std::find(known.begin(), known.end(), value) == known.end())
            refuse_flag(argument + "found '" + value + "'; expected " + join(known, ", "));
    }
}

// Return the values of each flag that is given; a switch has "true" or "false".
std::map<string, vector<string>> split_flags(const vector<string>& words) {
    auto is_value = [](const string& word) {
        bool is_number = word.find_first_not_of("-0123456789.eE/") == string::npos;
        return word.empty() || word[0] != '-' || word == "-" || is_number;
    };
    std::map<string, vector<string>> given;
    for (size_t place = 0; place < words.size();) {
        const string& word = words[place++];
        size_t mark = std::min(word.find('='), word.size());
        auto [flag, is_off] = find_flag(word.substr(0, mark));
        vector<string> found;
        if (mark < word.size()) found.push_back(word.substr(mark + 1));
        size_t count = mark < word.size() ? 0 : flag->values.size();
        while (found.size() < count && place < words.size() && is_value(words[place]))
            found.push_back(words[place++]);
        check_values(*flag, found);
        if (flag->values.empty()) found = {is_off ? "false" : "true"};
        given[flag->name] = found;
    }
    return given;
}

// Read the command line.
Arguments parse_flags(const vector<string>& words) {
    std::map<string, vector<string>> given = split_flags(words);
    Arguments args;
    auto set = [&](const string& name, const auto& store) {
        auto found = given.find(name);
        if (found == given.end()) return;
        for (const string& value : found->second) {
            try {
                store(value);
            } catch (const ValueError&) {
                refuse_flag("argument --" + name + ": invalid value: '" + value + "'");
            }
        }
    };
    auto path = [&](const string& name, fs::path& place) {
        set(name, [&](const string& value) { place = value; });
    };
    auto text = [&](const string& name, optional<string>& place) {
        set(name, [&](const string& value) { place = value; });
    };
    auto pixels = [&](const string& name, optional<int>& place) {
        set(name, [&](const string& value) { place = integer(value); });
    };
    auto choice = [&](const string& name, optional<bool>& place) {
        set(name, [&](const string& value) { place = value == "true"; });
    };
    path("model", args.model), path("input", args.input), path("classes", args.classes);
    path("output", args.output), path("save", args.save), path("bundle", args.bundle);
    path("report", args.report);
    text("task", args.task), text("output-name", args.output_name), text("exif", args.exif);
    text("interpolation", args.interpolation), text("engine", args.engine);
    text("backend", args.backend), text("target", args.target);
    set("scale", [&](const string& value) { args.scale = positive(value); });
    set("mean", [&](const string& value) { args.mean.push_back(number(value)); });
    set("std", [&](const string& value) { args.std.push_back(positive(value)); });
    pixels("rsz-height", args.rsz_height), pixels("rsz-width", args.rsz_width);
    pixels("resize", args.resize), pixels("height", args.height), pixels("width", args.width);
    pixels("threads", args.threads);
    choice("rgb", args.rgb), choice("keep-aspect", args.keep_aspect);
    choice("crop", args.crop), choice("antialias", args.antialias);
    args.show = given.count("show"), args.verbose = given.count("verbose");
    args.verify = given.count("verify"), args.help = given.count("help");
    return args;
}

// Refuse flags of a verification without --verify, and the other way round.
void check_verification(const Arguments& args) {
    const vector<pair<string, fs::path>> running{{"--model", args.model}, {"--input", args.input}},
        verifying{{"--bundle", args.bundle}, {"--report", args.report}};
    vector<string> missing;
    for (const auto& [name, path] : args.verify ? running : verifying)
        if (!path.empty())
            refuse_flag(name + ": found " + path.string() + "; expected " +
                        (args.verify ? "none" : "--verify too"));
    for (const auto& [name, path] : running)
        if (path.empty()) missing.push_back(name);
    if (!args.verify && !missing.empty())
        refuse_flag("the following arguments are required: " + join(missing, ", "));
}

// Refuse flags that make no sense together.
void check_flags(const Arguments& args) {
    check_verification(args);
    if (args.resize && (args.rsz_height || args.rsz_width))
        refuse("--resize: found --rsz-height or --rsz-width too; expected one of them");
    std::error_code error;
    if (fs::is_directory(args.input, error) && fs::equivalent(args.input, args.output, error))
        refuse("--output: found " + args.output.string() +
               ", the folder of --input; expected another");
    if (!args.save.empty() && args.show)
        refuse("--save: found --show too; expected one of them: --save draws no picture");
    if (args.threads && (*args.threads < 0 || *args.threads > MAX_THREADS))
        refuse("--threads: found " + std::to_string(*args.threads) + "; expected 0 to " +
               std::to_string(MAX_THREADS));
}

// Return the task that the flag or the metadata name; refuses two different ones.
string find_task(const Arguments& args, const Model& model) {
    auto entry = model.metadata.find("task");
    string known = entry == model.metadata.end() ? "none" : entry->second;
    string task = args.task.value_or(known);
    auto is_task = [](const string& name) {
        return std::find(TASKS.begin(), TASKS.end(), name) != TASKS.end();
    };
    if (!is_task(task))
        refuse(model.path.string() + ": found the task '" + known +
               "' in its metadata; expected --task " + join(TASKS, " or "));
    if (is_task(known) && known != task)
        refuse(model.path.string() + ": made for " + known + "; found --task " + task);
    return task;
}

// From an image to the blob

// How an image becomes a blob, as the flags put it: `resize` and `size` in pixels, none for 0;
// `mean` and `std` are for red, green and blue. `source` names the origin.
struct Preprocessing {
    Fraction scale{{1}, {255}};
    vector<Fraction> mean, std;
    bool rgb = true;
    optional<cv::Size> resize;
    bool keep_aspect = false;
    optional<cv::Size> size;
    bool crop = false;
    string interpolation = "linear";
    bool antialias = false;
    string exif = "ignore";
    string source;

    // Return the flags that reproduce the blob to the bit.
    string flags() const {
        auto list = [](const vector<Fraction>& numbers) {
            vector<string> texts;
            for (const Fraction& one : numbers) texts.push_back(one.text());
            return join(texts, " ");
        };
        auto choice = [](const char* name, bool on) {
            return string(on ? " --" : " --no-") + name;
        };
        cv::Size resized = resize.value_or(cv::Size()), blob = size.value_or(cv::Size());
        return "--scale " + scale.text() + " --mean " + list(mean) + " --std " + list(std) +
               choice("rgb", rgb) +
               format(" --rsz-height %d --rsz-width %d", resized.height, resized.width) +
               choice("keep-aspect", keep_aspect) +
               format(" --height %d --width %d", blob.height, blob.width) + choice("crop", crop) +
               " --interpolation " + interpolation + choice("antialias", antialias) + " --exif " +
               exif;
    }

    // Return the blob's value for each byte of blue, green and red: float32 (1, 256, 3), computed
    // in float64 and rounded once, as the evaluation does it.
    cv::Mat table() const {
        cv::Mat found(1, 256, CV_32FC3);
        double most = scale.inverse().value();
        for (int channel = 0; channel < 3; ++channel) {
            auto color = static_cast<size_t>(2 - channel);
            double mean_ = (mean[color] * scale).value(), std_ = std[color].value();
            for (int byte = 0; byte < 256; ++byte)
                found.at<cv::Vec3f>(byte)[channel] =
                    static_cast<float>((byte / most - mean_) / std_);
        }
        return found;
    }
};

// Turn a profile, as the metadata has it, into a Preprocessing. Throws ValueError for a profile
// that is not valid.
Preprocessing read_profile(const Json& profile, const string& task) {
    Preprocessing how;
    const Json& size = profile.at("size");
    bool is_own = size.kind == Json::STRING && size.text == "own";
    if (!is_own && size.kind != Json::OBJECT)
        throw ValueError("found size " + size.shown() + "; expected 'own' or an object");
    auto get = [](const Json& object, const char* name, const string& missing) {
        const Json* found = object.find(name);
        return found ? found->as_string() : missing;
    };
    auto square = [&](const char* name) {
        auto side = static_cast<int>(std::clamp(size.at(name).as_number(), -1e9, 1e9));
        return cv::Size(side, side);
    };
    if (const Json* scale = profile.find("scale")) how.scale = positive(scale->digits());
    for (const Json& value : profile.at("mean").as_array())
        how.mean.push_back(number(value.digits()) / how.scale);
    for (const Json& value : profile.at("std").as_array())
        how.std.push_back(positive(value.digits()));
    how.rgb = get(profile, "color", "RGB") == "RGB";
    if (!is_own && !size.members.empty()) how.resize = square("resize");
    bool has_crop = size.find("crop");
    if (has_crop) how.size = square("crop");
    // Segmentation has no such key: its size is the shorter side's.
    const Json* keep_aspect = size.find("keep_aspect");
    how.keep_aspect = keep_aspect ? keep_aspect->is_true() : !size.members.empty() && !has_crop;
    how.crop = task == "classification";
    how.interpolation = get(size, "interpolation", "linear");
    if (const Json* antialias = size.find("antialias")) how.antialias = antialias->is_true();
    how.exif = get(profile, "exif", "ignore");
    if (how.mean.size() != 3 || how.std.size() != 3)
        throw ValueError("expected three numbers as mean and as std");
    auto is_filter = [&](const auto& known) { return known.first == how.interpolation; };
    if (std::none_of(INTERPOLATIONS.begin(), INTERPOLATIONS.end(), is_filter))
        throw ValueError("interpolation '" + how.interpolation + "'");
    if (std::find(EXIF.begin(), EXIF.end(), how.exif) == EXIF.end())
        throw ValueError("found exif '" + how.exif + "'; expected ignore or apply");
    for (const Fraction& value : how.mean)
        if (value.value() < 0 || value.value() > 255)
            throw ValueError("found a mean beyond 0 to 255, scaled");
    return how;
}

// Return the profile in the metadata or else ImageNet's, and its origin.
pair<Json, string> find_profile(const Model& model, const string& task) {
    auto entry = model.metadata.find("preprocess");
    if (entry != model.metadata.end()) {
        optional<Json> profile = read_json(entry->second);
        if (profile && profile->find("mean") && profile->find("std"))
            return {*profile, "metadata of " + model.path.string()};
    }
    string size = task == "classification" ? "{\"resize\": 256, \"crop\": 224}" : "\"own\"";
    string values = "\"mean\": [0.485, 0.456, 0.406], \"std\": [0.229, 0.224, 0.225]";
    return {*read_json("{" + values + ", \"size\": " + size + "}"), "ImageNet's constants"};
}

// Return the size of two flags, none for zeros; the default where neither is given.
optional<cv::Size> size_of(const string& names, optional<int> height, optional<int> width,
                           optional<cv::Size> fallback) {
    if (!height && !width) {
        height = fallback.value_or(cv::Size()).height;
        width = fallback.value_or(cv::Size()).width;
    }
    if (height == 0 && width == 0) return {};
    auto fits = [](optional<int> side) { return side && 0 < *side && *side <= MAX_SIDE; };
    if (!fits(height) || !fits(width)) {
        auto shown = [](optional<int> side) { return side ? std::to_string(*side) : "None"; };
        refuse(names + ": found " + shown(height) + " and " + shown(width) +
               format("; expected two numbers of pixels, 1 to %d, or 0 and 0", MAX_SIDE));
    }
    return cv::Size(*width, *height);
}

// Combine the flags, the profile and the size of the model's input where it is fixed; refuses a
// combination that makes no sense.
Preprocessing find_preprocessing(const Arguments& args, const string& task, const Model& model) {
    auto [profile, source] = find_profile(model, task);
    Preprocessing how;
    try {
        how = read_profile(profile, task);
    } catch (const ValueError& error) {
        refuse(source + ": not a preprocessing: " + error.what());
    }
    if (model.fixed && model.fixed != how.size) {
        how.resize = {};
        how.size = model.fixed;
    }
    optional<int> rsz_height = args.resize ? args.resize : args.rsz_height;
    optional<int> rsz_width = args.resize ? args.resize : args.rsz_width;
    how.resize = size_of("--rsz-height and --rsz-width", rsz_height, rsz_width, how.resize);
    how.size = size_of("--height and --width", args.height, args.width, how.size);
    if (model.fixed && how.size && how.size != model.fixed)
        refuse(format("--height and --width: found %d and %d; the input of the model has %d and %d",
                      how.size->height, how.size->width, model.fixed->height, model.fixed->width));
    bool is_given = rsz_height || args.height;
    auto take = [&](const auto& given, auto& place) {
        if (!given) return;
        place = *given;
        is_given = true;
    };
    auto take_three = [&](const vector<Fraction>& given, vector<Fraction>& place) {
        if (given.empty()) return;
        place = given;
        is_given = true;
    };
    take(args.scale, how.scale), take_three(args.mean, how.mean), take_three(args.std, how.std);
    take(args.rgb, how.rgb), take(args.keep_aspect, how.keep_aspect), take(args.crop, how.crop);
    take(args.interpolation, how.interpolation), take(args.antialias, how.antialias);
    take(args.exif, how.exif);
    how.source = (is_given ? "flags, then " : "") + source;

    if (args.crop.value_or(false) && !how.size)
        refuse("--crop: found no size to crop to; expected --height and --width");
    how.crop = how.crop && how.size;
    if (how.crop && !how.resize) {
        how.resize = how.size;
        how.keep_aspect = true;
    }
    if (how.crop && (how.size->height > how.resize->height || how.size->width > how.resize->width))
        refuse(
            format("--crop: found %d x %d; expected at most %d x %d, what the image is resized to "
                   "(--resize)",
                   how.size->height, how.size->width, how.resize->height, how.resize->width));
    return how;
}

// Return the size that `--rsz-height` and `--rsz-width` resize to; a side that follows from the
// aspect ratio is rounded as torchvision's `Resize` does.
cv::Size resize_target(const cv::Size& image, const Preprocessing& how) {
    if (!how.keep_aspect) return *how.resize;
    int64_t height = how.resize->height, width = how.resize->width;
    int64_t rows = image.height, columns = image.width;
    if (height * columns >= width * rows)
        return {static_cast<int>(height * columns / rows), static_cast<int>(height)};
    return {static_cast<int>(width), static_cast<int>(width * rows / columns)};
}

// Return the corner of a centre crop, rounded as torchvision's `CenterCrop` does, half to even.
cv::Point offsets(const cv::Size& image, const cv::Size& size) {
    auto half = [](int side) { return static_cast<int>(std::nearbyint(side / 2.0)); };
    return {half(image.width - size.width), half(image.height - size.height)};
}

// Resize; with `--antialias`, by the means of areas where both sides shrink.
cv::Mat resized(const cv::Mat& image, const cv::Size& size, const Preprocessing& how) {
    if (int64_t(size.height) * size.width > MAX_PIXELS)
        refuse(how.source +
               format(": an image of %d x %d pixels becomes %d x %d; expected at most %d "
                      "in all",
                      image.cols, image.rows, size.width, size.height,
                      static_cast<int>(MAX_PIXELS)));
    bool shrinks = size.height < image.rows && size.width < image.cols;
    string name = how.antialias && shrinks ? "area" : how.interpolation;
    int filter = cv::INTER_LINEAR;
    for (const auto& [known, constant] : INTERPOLATIONS)
        if (known == name) filter = constant;
    cv::Mat found;
    cv::resize(image, found, size, 0, 0, filter);
    return found;
}

// Turn an image, uint8 (H, W, 3), BGR, into the blob, float32 (1, 3, height, width).
cv::Mat blob_of(cv::Mat image, const Preprocessing& how) {
    if (how.resize) image = resized(image, resize_target(image.size(), how), how);
    if (how.crop) image = image(cv::Rect(offsets(image.size(), *how.size), *how.size));
    else if (how.size) image = resized(image, *how.size, how);
    cv::Mat values, blob(Shape{1, 3, image.rows, image.cols}, CV_32F);
    cv::LUT(image, how.table(), values);
    vector<cv::Mat> planes;
    for (int channel = 0; channel < 3; ++channel)
        planes.emplace_back(image.rows, image.cols, CV_32F,
                            blob.ptr(0, how.rgb ? 2 - channel : channel));
    cv::split(values, planes.data());
    return blob;
}

// Return the part of an image that reaches the blob: all, or --crop's centre.
cv::Mat seen_part(const cv::Mat& image, const Preprocessing& how) {
    if (!how.crop) return image;
    cv::Size sides = resize_target(image.size(), how);
    cv::Point corner = offsets(sides, *how.size);
    double rows = double(image.rows) / sides.height, columns = double(image.cols) / sides.width;
    auto bottom = static_cast<int>(std::ceil((corner.y + how.size->height) * rows));
    auto right = static_cast<int>(std::ceil((corner.x + how.size->width) * columns));
    auto top = static_cast<int>(corner.y * rows), left = static_cast<int>(corner.x * columns);
    return image(cv::Rect(left, top, std::min(right, image.cols) - left,
                          std::min(bottom, image.rows) - top));
}

// OpenCV

using Names = vector<pair<string, int>>;

Names engines() {
#if CV_VERSION_MAJOR >= 5
    return {{"auto", cv::dnn::ENGINE_AUTO},
            {"classic", cv::dnn::ENGINE_CLASSIC},
            {"new", cv::dnn::ENGINE_NEW},
            {"ort", cv::dnn::ENGINE_ORT}};
#else
    return {{"auto", 0}, {"classic", 0}};  // the only one, without a constant
#endif
}

// The numbers of OpenCV's constants are the same in all versions; `getAvailableTargets` knows what
// this one has.
const Names BACKENDS{
    {"cann", 8},   {"cuda", 5},  {"default", 0}, {"halide", 1}, {"inference_engine", 2},
    {"opencv", 3}, {"timvx", 7}, {"vkcom", 4},   {"webnn", 6}};
const Names TARGETS{{"cpu", 0},    {"cpu_fp16", 10},   {"cuda", 6},   {"cuda_fp16", 7},
                    {"fpga", 5},   {"hddl", 8},        {"myriad", 3}, {"npu", 9},
                    {"opencl", 1}, {"opencl_fp16", 2}, {"vulkan", 4}};

// Return OpenCV's constant of a name.
int constant(const string& flag, const string& name, const Names& names) {
    vector<string> known;
    for (const auto& [one, value] : names) {
        if (one == name) return value;
        known.push_back(one);
    }
    refuse("--" + flag + ": found '" + name + "'; OpenCV " + cv::getVersionString() + " has " +
           join(known, ", "));
}

// What OpenCV is asked to run a model with; `threads` is 0 for its own choice.
struct Settings {
    string engine, backend, target;
    int threads;

    string text() const {
        return "engine " + engine + ", backend " + backend + ", target " + target;
    }
};

// Read the flags; refuses what this OpenCV cannot do.
Settings find_settings(const Arguments& args) {
    Settings found{args.engine.value_or("auto"), args.backend.value_or("default"),
                   args.target.value_or("cpu"), args.threads.value_or(0)};
    constant("engine", found.engine, engines());
    int backend = constant("backend", found.backend, BACKENDS);
    auto target = static_cast<cv::dnn::Target>(constant("target", found.target, TARGETS));
    auto asked =
        static_cast<cv::dnn::Backend>(backend ? backend : int(cv::dnn::DNN_BACKEND_OPENCV));
    vector<cv::dnn::Target> available = cv::dnn::getAvailableTargets(asked);
    if (std::find(available.begin(), available.end(), target) == available.end())
        // OpenCV would fall back to the CPU and only warn.
        refuse("--target: found '" + found.target + "'; this OpenCV " + cv::getVersionString() +
               " cannot use it with --backend " + found.backend);
    return found;
}

// A model in OpenCV.
class Network {
public:
    Network(const fs::path& model, const Settings& asked, const string& output_name)
        : settings(asked), path(model), output(output_name) {
        if (settings.threads) cv::setNumThreads(settings.threads);
        string reason = path.string() + ": OpenCV cannot read it as an ONNX model";
        try {
#if CV_VERSION_MAJOR >= 5
            net = cv::dnn::readNetFromONNX(path.string(),
                                           constant("engine", settings.engine, engines()));
#else
            net = cv::dnn::readNetFromONNX(path.string());
#endif
        } catch (const cv::Exception& error) {
            throw Unusable(reason + ": " + error.what());
        }
        if (settings.backend != "default" || settings.target != "cpu") {
            net.setPreferableBackend(constant("backend", settings.backend, BACKENDS));
            net.setPreferableTarget(constant("target", settings.target, TARGETS));
        }
        if (net.empty())
            throw Unusable(reason);  // OpenCV's new engine only logs what it cannot read
        layers = net.getLayerNames();
    }

    string title() const {
        return "OpenCV " + cv::getVersionString() + " (" + settings.text() + ")";
    }

    // Return the engine that runs; of `auto`, the one that OpenCV chose.
    string running_engine() const {
#if CV_VERSION_MAJOR >= 5
        if (settings.engine == "ort") return "ort";
        return net.getMainGraph() ? "new" : "classic";
#else
        return "classic";
#endif
    }

    // Return the output for a blob, and the milliseconds of the forward pass. The first blob of a
    // shape runs twice, as OpenCV allocates memory the first time.
    pair<cv::Mat, double> run(const cv::Mat& blob) {
        if (!warm.count(shape_of(blob))) answer(blob);
        auto began = std::chrono::steady_clock::now();
        cv::Mat found = answer(blob);
        std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - began;
        return {found, time.count()};
    }

    // Return the output for a blob, float32.
    cv::Mat answer(const cv::Mat& blob) {
        try {
            net.setInput(blob);
            cv::Mat found = output.empty() ? net.forward() : net.forward(output), copied;
            found.convertTo(copied, CV_32F);  // OpenCV reuses its own
            warm.insert(shape_of(blob));
            return copied;
        } catch (const cv::Exception& error) {
            throw Unusable(path.string() + ": OpenCV cannot run it on a blob of " +
                           text_of(shape_of(blob)) + ": " + error.what());
        }
    }

    const Settings settings;
    vector<string> layers;

private:
    fs::path path;
    string output;
    cv::dnn::Net net;
    std::set<Shape> warm;
};

// Return the name of the output that answers, empty for the only one; refuses an unknown one.
string find_output(const Arguments& args, const Model& model) {
    const vector<string>& names = model.outputs;
    if (names.empty()) refuse(model.path.string() + ": found no output; expected at least one");
    if (args.output_name && std::find(names.begin(), names.end(), *args.output_name) == names.end())
        refuse("--output-name: found '" + *args.output_name + "'; " + model.path.string() +
               " has " + join(names, ", "));
    if (names.size() == 1) return "";
    string name = args.output_name.value_or(names[0]);
    say("output " + name + " of " + join(names, ", ") + " (--output-name takes another)");
    return name;
}

// Images, videos and cameras

// Collects what the libraries in C print meanwhile: OpenCV returns the grey half of a damaged JPEG,
// and only stderr says so.
class StderrListener {
#ifdef _WIN32
public:
    string heard() { return ""; }
#else
public:
    StderrListener() : listener(std::tmpfile()), stderr_(dup(2)) {
        if (!listener || stderr_ < 0) refuse("a temporary file: " + reason_of_errno());
        std::fflush(stderr);
        dup2(fileno(listener), 2);
    }
    StderrListener(const StderrListener&) = delete;
    StderrListener& operator=(const StderrListener&) = delete;
    ~StderrListener() {
        restore();
        std::fclose(listener);
    }

    string heard() {
        restore();
        std::rewind(listener);
        string text(1 << 16, '\0');
        text.resize(std::fread(text.data(), 1, text.size(), listener));
        return text;
    }

private:
    void restore() {
        if (stderr_ < 0) return;
        std::fflush(stderr);
        dup2(stderr_, 2);
        close(std::exchange(stderr_, -1));
    }

    std::FILE* listener;
    int stderr_;
#endif
};

// Return what OpenCV decodes, and what its libraries print.
pair<cv::Mat, string> decode(const string& data, int flags) {
    StderrListener listener;
    cv::Mat bytes(1, static_cast<int>(data.size()), CV_8U, const_cast<char*>(data.data()));
    cv::Mat image = cv::imdecode(bytes, flags);
    return {image, listener.heard()};
}

// Return the first line with which libjpeg and libpng say that pixels are damaged. Their other
// lines are about metadata.
string damage_in(const string& printed) {
    std::istringstream lines(printed);
    for (string line; std::getline(lines, line);) {
        if (starts_with(line, "Corrupt JPEG data: ") &&
            !starts_with(line, "Corrupt JPEG data: bad ICC"))
            return line;
        for (const char* start : {"Premature end of JPEG", "Inconsistent progression",
                                  "libpng error: ", "libpng warning: IDAT: "})
            if (starts_with(line, start)) return line;
        string warning = "libpng warning: ";
        size_t mark = line.find(": CRC error");
        if (starts_with(line, warning) && mark != string::npos && mark > warning.size() &&
            line.find_first_of(" :", warning.size()) == mark)
            return line;
    }
    return "";
}

const string JPEG_START = "\xFF\xD8";
const int JPEG_END = 0xD9, JPEG_SCAN = 0xDA, JPEG_PROGRESSIVE = 0xC2;

// Bytes with a limit: throws ValueError beyond their end.
struct Limited {
    const uint8_t* data;
    size_t size;
    int operator[](size_t place) const {
        if (place >= size) throw ValueError("the end is missing");
        return data[place];
    }
    size_t word(size_t place, int bytes) const {  // big-endian
        size_t value = 0;
        for (int index = 0; index < bytes; ++index)
            value = value << 8 | static_cast<size_t>((*this)[place + static_cast<size_t>(index)]);
        return value;
    }
};

// Move `place` behind the next marker of a JPEG and return it, the pixels left out. Throws
// ValueError where there is none.
int next_marker(const Limited& data, size_t& place) {
    while (true) {
        while (data[place] != 0xFF) ++place;
        while (data[place] == 0xFF) ++place;
        int code = data[place++];
        if (code && (code < 0xD0 || code > 0xD7)) return code;  // no stuffing and no restart
    }
}

// Return whether a progressive JPEG lacks bits of a coefficient. A scan brings coefficients of some
// components, but for some of their lowest bits (ITU T.81, B.2.3 and G.1).
bool lacks_scans(const Limited& data) {
    std::map<int, std::set<int>> missing;
    size_t place = 2;
    for (int code; (code = next_marker(data, place)) != JPEG_END;) {
        if (code == 0x01 || code == 0xD8) continue;  // those have no content
        size_t length = data.word(place, 2), start = place + 2;
        Limited content{
            data.data + std::min(start, data.size),
            std::min(length < 2 ? 0 : length - 2, data.size - std::min(start, data.size))};
        place += length;
        if (code == JPEG_PROGRESSIVE) {
            missing.clear();
            for (int index = 0; index < content[5]; ++index) {
                std::set<int>& coefficients = missing[content[static_cast<size_t>(6 + 3 * index)]];
                for (int one = 0; one < 64; ++one) coefficients.insert(one);
            }
        } else if (code == JPEG_SCAN) {
            auto count = static_cast<size_t>(content[0]);
            int first = content[1 + 2 * count], last = content[2 + 2 * count];
            if (content[3 + 2 * count] & 0x0F) continue;
            for (size_t index = 0; index < count; ++index) {
                auto component = missing.find(content[1 + 2 * index]);
                if (component == missing.end()) continue;
                std::set<int>& coefficients = component->second;
                coefficients.erase(coefficients.lower_bound(first), coefficients.upper_bound(last));
            }
        }
    }
    return std::any_of(missing.begin(), missing.end(),
                       [](const auto& component) { return !component.second.empty(); });
}

// Return which part of a JPEG or PNG is missing, empty for none. Bytes behind its end are not its
// own, and libraries do not name what a scan would have brought.
string missing_part(const string& text) {
    Limited data{reinterpret_cast<const uint8_t*>(text.data()), text.size()};
    try {
        if (starts_with(text, JPEG_START)) return lacks_scans(data) ? "its last scans are" : "";
        if (starts_with(text, PNG_START)) {
            size_t place = PNG_START.size();
            while (data.word(place + 4, 4) != 0x49454E44)
                place += 12 + data.word(place, 4);  // IEND
        }
    } catch (const ValueError&) {
        return "its end is";
    }
    return "";
}

// Return the flags to decode an image with: those that keep 16 bits where OpenCV would convert them
// to 8 in another way than PIL does. It strips the low byte of a PNG in colour, as PIL does.
int flags_of(const string& data) {
    int grey = cv::IMREAD_GRAYSCALE | cv::IMREAD_ANYDEPTH, color = cv::IMREAD_COLOR;
    if (starts_with(data, PNG_START))
        return data.substr(24, 2) == string("\x10\0", 2) ? grey : color;
    string start = data.substr(0, 2);
    if (start != "II" && start != "MM" && start != "P5") return color;  // TIFF and PGM
    cv::Mat image = decode(data, cv::IMREAD_UNCHANGED).first;
    if (image.depth() != CV_16U) return color;
    return image.channels() == 1 ? grey : color | cv::IMREAD_ANYDEPTH;
}

// Decode an image file into uint8 (H, W, 3), BGR.
cv::Mat read_image(const fs::path& path, const string& exif) {
    string data = read_file(path, MAX_IMAGE), name = path.string();
    if (data.empty()) refuse(name + ": the file is empty");
    string kind = data.substr(std::min<size_t>(4, data.size()), 8);
    if (exif == "apply" && (kind == "ftypavif" || kind == "ftypavis"))
        refuse(name + ": found an AVIF file; OpenCV does not turn it (--exif ignore takes it)");
    string too_many =
        name + ": the image has too many pixels; expected at most " + std::to_string(MAX_PIXELS);
    cv::Mat image;
    string printed;
    try {
        int turn = exif == "apply" ? 0 : cv::IMREAD_IGNORE_ORIENTATION;
        std::tie(image, printed) = decode(data, flags_of(data) | turn);
    } catch (const cv::Exception& error) {
        if (string(error.what()).find("CV_IO_MAX_IMAGE_PIXELS") != string::npos) refuse(too_many);
        refuse(name + ": OpenCV refuses the image: " + error.what());
    }
    string missing = missing_part(data), damage = damage_in(printed);
    if (!missing.empty())
        refuse(name + ": the image is cut off, " + missing + " missing (" +
               std::to_string(data.size()) + " bytes)");
    if (!damage.empty()) refuse(name + ": the image is damaged: " + damage);
    if (image.empty()) refuse(name + ": not an image that OpenCV can read");
    if (int64_t(image.rows) * image.cols > MAX_PIXELS) refuse(too_many);
    // 16 bits as in PIL's convert("RGB"): grey is clipped, colour loses its low byte.
    if (image.depth() == CV_16U) {
        if (image.channels() == 1) image = cv::min(image, 255);
        else
            image.forEach<cv::Vec3w>([](cv::Vec3w& pixel, const int*) {
                for (int channel = 0; channel < 3; ++channel) pixel[channel] >>= 8;
            });
        image.convertTo(image, CV_8U);
    }
    if (image.channels() == 1) cv::cvtColor(image, image, cv::COLOR_GRAY2BGR);
    return image;
}

volatile std::sig_atomic_t interrupted = 0;

// An image, or a frame of a video; it has the frames per second, an image 0.
struct Frame {
    string name;
    cv::Mat image;
    double per_second = 0;
};

// Takes a frame; returns false to stop.
using Take = std::function<bool(const Frame&)>;

// Pass on the frames of a video file, or of a camera until it stops.
void stream(const string& name, const string& source, bool is_camera, const Take& take) {
#ifdef WITH_VIDEOIO
    cv::VideoCapture capture;
    if (is_camera) capture.open(integer(source));
    else capture.open(source);
    Frame frame{name, {}, 0};
    if (!capture.read(frame.image)) {
        string reason =
            is_camera ? "no such camera and no such file" : "neither an image nor a video";
        refuse(source + ": " + reason + " that OpenCV can read");
    }
    double found = capture.get(cv::CAP_PROP_FPS);
    frame.per_second = 0 < found && found < 1000 ? found : 25;
    while (take(frame) && capture.read(frame.image)) {
    }
#else
    static_cast<void>(name), static_cast<void>(take);
    string reason = is_camera ? "no such file" : "not an image that OpenCV can read";
    refuse(source + ": " + reason +
           "; this program is built without videoio, for videos and cameras");
#endif
}

const std::set<string> IMAGE_FILES{".bmp", ".gif", ".jpeg", ".jpg", ".png",
                                   ".ppm", ".tif", ".tiff", ".webp"};

// Pass on the images of a folder in the order of their names.
void folder_frames(const fs::path& folder, const string& exif, const Take& take) {
    vector<fs::path> images;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
        if (IMAGE_FILES.count(lower(entry.path().extension().string())))
            images.push_back(entry.path());
    if (error) refuse(folder.string() + ": " + reason_of(error));
    if (images.empty()) {
        vector<string> known(IMAGE_FILES.begin(), IMAGE_FILES.end());
        refuse(folder.string() + ": the folder holds no image (" + join(known, ", ") + ")");
    }
    std::sort(images.begin(), images.end());
    std::map<string, int> stems;
    std::set<string> names;
    for (const fs::path& image : images) {
        ++stems[image.stem().string()];
        names.insert(image.filename().string());
    }
    for (const fs::path& image : images) {
        string stem = image.stem().string();
        bool is_short = stems[stem] == 1 && !names.count(stem);
        string name = is_short ? stem : image.filename().string();
        if (!take({name, read_image(image, exif), 0})) return;
    }
}

// Pass on the images that `--input` stands for.
void frames(const fs::path& path, const string& exif, const Take& take) {
    std::error_code error;
    string source = path.string();
    if (is_decimal(source) && !fs::exists(path, error))
        return stream("camera-" + source, source, true, take);
    if (fs::is_directory(path, error)) return folder_frames(path, exif, take);
    if (!check_file(path, std::numeric_limits<uintmax_t>::max()))
        refuse(source + ": the file is empty");
    if (IMAGE_FILES.count(lower(path.extension().string())) || cv::haveImageReader(source))
        take({path.stem().string(), read_image(path, exif), 0});
    else stream(path.stem().string(), source, false, take);
}

// From an output to an answer: the two tasks

// Return the lines of a classes file: the line number is the class id.
vector<string> class_lines(const fs::path& path) {
    string text = read_file(path, MAX_TEXT);
    if (starts_with(text, "\xEF\xBB\xBF")) text.erase(0, 3);
    if (valid_utf8(text) != text) refuse(path.string() + ": not a text file in UTF-8");
    vector<string> lines;
    std::istringstream file(text);
    for (string line; std::getline(file, line);) lines.push_back(strip(line));
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    if (lines.empty() || std::find(lines.begin(), lines.end(), "") != lines.end())
        refuse(path.string() + ": found " + (lines.empty() ? "no class" : "a blank line") +
               "; expected one class per line");
    return lines;
}

// Text in pictures

const cv::Scalar WHITE(255, 255, 255), GREY(150, 150, 150), DARK(32, 32, 32);

// Make room for legible text: enlarge a small picture by a whole factor, and add a margin to a
// narrow one.
cv::Mat fit_canvas(cv::Mat picture) {
    int factor = (MIN_SIDE + std::max(picture.rows, picture.cols) - 1) /
                 std::max(picture.rows, picture.cols);
    if (factor > 1) cv::resize(picture, picture, {}, factor, factor, cv::INTER_NEAREST);
    int bottom = std::max(0, MIN_HEIGHT - picture.rows),
        right = std::max(0, MIN_SIDE - picture.cols);
    cv::Mat found;
    cv::copyMakeBorder(picture, found, 0, bottom, 0, right, cv::BORDER_CONSTANT, DARK);
    return found;
}

// A line of text, in pixels: its height, and OpenCV's font for it.
struct Line {
    explicit Line(int height_) : height(height_), pad(height_ / 3) {
        auto rounded = [](double value) { return static_cast<int>(std::nearbyint(value)); };
        thickness = std::max(1, rounded(height / 18.0));
        scale = cv::getFontScaleFromHeight(FONT, std::max(1, rounded(0.56 * height)), thickness);
        foot = rounded(0.76 * height);
    }

    // Return a line that is legible when the whole picture is seen.
    static Line in(const cv::Mat& picture) {
        double legible = std::max<double>(MIN_TEXT, std::sqrt(double(picture.total())) / 25);
        return Line(static_cast<int>(std::min({legible, picture.rows / 4.0, picture.cols / 14.0})));
    }

    int width(const string& text) const {
        return cv::getTextSize(text, FONT, scale, thickness, nullptr).width;
    }

    // Cut a text so that it takes at most `most` pixels.
    string shortened(string text, int most) const {
        if (width(text) <= most) return text;
        while (!text.empty() && width(text + "...") > most) {
            while ((text.back() & 0xC0) == 0x80) text.pop_back();  // the rest of a character
            text.pop_back();
        }
        return text + "...";
    }

    // Write a text into the picture; its corner is at x, top.
    void put(cv::Mat& picture, const string& text, int x, int top, const cv::Scalar& color) const {
        cv::putText(picture, text, {x, top + foot}, FONT, scale, color, thickness, cv::LINE_AA);
    }

    static const int FONT = cv::FONT_HERSHEY_SIMPLEX;
    int height, pad, thickness, foot;
    double scale;
};

// Write lines into the top left corner, on a dark box.
void put_corner(cv::Mat& picture, vector<string> lines) {
    Line line = Line::in(picture);
    int width = 0, rows = static_cast<int>(lines.size()) * line.height + line.pad;
    for (string& text : lines) {
        text = line.shortened(text, picture.cols - 2 * line.pad);
        width = std::max(width, line.width(text) + 2 * line.pad);
    }
    cv::Mat box =
        picture(cv::Rect(0, 0, std::min(width, picture.cols), std::min(rows, picture.rows)));
    box.forEach<cv::Vec3b>([](cv::Vec3b& pixel, const int*) {
        for (int channel = 0; channel < 3; ++channel)
            pixel[channel] = static_cast<uchar>(0.25 * pixel[channel] + 0.75 * DARK[channel]);
    });
    for (size_t row = 0; row < lines.size(); ++row)
        line.put(picture, lines[row], line.pad, line.pad / 2 + static_cast<int>(row) * line.height,
                 WHITE);
}

// What a model's outputs mean; `names` are those of its classes by id, empty if unknown. An answer
// is the logits, float32 (C,), or the mask, uint8 (H, W).
class Answers {
public:
    Answers(const fs::path& classes, const Model& model) {
        auto entry = model.metadata.find("classes");
        optional<Json> found =
            entry == model.metadata.end() ? std::nullopt : read_json(entry->second);
        if (found)
            for (const Json& name : found->items) names.push_back(name.text);
        if (!classes.empty()) {
            names = class_lines(classes);
            source = classes.string();
        }
    }
    virtual ~Answers() = default;

    // Turn an output into the answer; refuses one of another shape.
    virtual cv::Mat decide(const cv::Mat& output) const = 0;
    virtual vector<string> table(const cv::Mat& answer) const = 0;
    virtual string summarise(const cv::Mat& answer) const = 0;
    virtual cv::Mat draw(const cv::Mat& image, const cv::Mat& answer, double time_ms,
                         bool is_frame) const = 0;

protected:
    string name(int index) const {
        return names.empty() ? "class " + std::to_string(index) : names[static_cast<size_t>(index)];
    }

    void check_count(int outputs) const {
        if (!names.empty() && static_cast<int>(names.size()) != outputs)
            refuse("--classes: found " + std::to_string(names.size()) + " classes in " + source +
                   "; the model has " + std::to_string(outputs) + " outputs");
    }

    size_t widest(const string& title, const vector<int>& ids) const {
        size_t width = width_of(title);
        for (int index : ids) width = std::max(width, width_of(name(index)));
        return width;
    }

    vector<string> names;
    string source = "the metadata (--classes names a file)";
};

class Classification : public Answers {
public:
    using Answers::Answers;

    cv::Mat decide(const cv::Mat& output) const override {
        Shape shape = shape_of(output);
        if (shape.size() < 2 || static_cast<int>(output.total()) != shape[1])
            refuse("the model's output is " + text_of(shape) + "; expected (1, classes)");
        check_count(shape[1]);
        return output.reshape(1, 1);
    }

    // Return the best classes, a line each: id, label, logit, softmax.
    vector<string> table(const cv::Mat& logits) const override {
        vector<int> best = ranking(logits);
        size_t width = widest("label", best);
        vector<string> lines{"class  " + padded("label", width) + "       logit   softmax"};
        for (int index : best)
            lines.push_back(
                format("%5d  ", index) + padded(name(index), width) +
                format("  %10.4f  %6.2f %%", logits.at<float>(index), softmax(logits, index)));
        return lines;
    }

    string summarise(const cv::Mat& logits) const override {
        int best = ranking(logits)[0];
        return std::to_string(best) + " " + name(best) + format(" %.2f %%", softmax(logits, best));
    }

    cv::Mat draw(const cv::Mat& image, const cv::Mat& logits, double time_ms, bool) const override {
        int best = ranking(logits)[0];
        cv::Mat picture = fit_canvas(image.clone());
        string confidence =
            format("%.2f %%, logit %.4f", softmax(logits, best), logits.at<float>(best));
        put_corner(picture, {name(best), confidence, format("%.1f ms", time_ms)});
        return picture;
    }

private:
    // Return the ids of the best classes, the best first.
    static vector<int> ranking(const cv::Mat& logits) {
        vector<int> ids(logits.total());
        std::iota(ids.begin(), ids.end(), 0);
        std::stable_sort(ids.begin(), ids.end(), [&](int one, int other) {
            return logits.at<float>(one) > logits.at<float>(other);
        });
        ids.resize(std::min<size_t>(ids.size(), TOP));
        return ids;
    }

    // Return the confidence in a class in percent.
    static double softmax(const cv::Mat& logits, int index) {
        double most = 0, sum = 0;
        cv::minMaxLoc(logits, nullptr, &most);
        for (int one = 0; one < logits.cols; ++one) sum += std::exp(logits.at<float>(one) - most);
        return 100 * std::exp(logits.at<float>(index) - most) / sum;
    }
};

// Return the class of each image or pixel of an output, (1, C) or (1, C, H, W), as float32 (H, W).
// Of equal logits, the first class is taken.
cv::Mat classes_of(const cv::Mat& output) {
    cv::Size size = output.dims == 4 ? cv::Size(output.size[3], output.size[2]) : cv::Size(1, 1);
    auto plane = [&](int index) {
        return cv::Mat(size, CV_32F,
                       const_cast<uchar*>(output.data + output.step[1] * size_t(index)));
    };
    cv::Mat best(size, CV_32F, cv::Scalar(0)), largest = plane(0).clone();
    for (int index = 1; index < output.size[1]; ++index) {
        best.setTo(index, plane(index) > largest);
        largest = cv::max(largest, plane(index));
    }
    return best;
}

class Segmentation : public Answers {
public:
    Segmentation(const fs::path& classes, const Model& model) : Answers(classes, model) {
        // The colours of Pascal VOC's development kit: the bits of a class id go to red, green and
        // blue in turn, the lowest to the highest bit of a colour.
        for (int index = 0; index < 256; ++index)
            for (int bit = 0; bit < 8; ++bit)
                for (int channel = 0; channel < 3; ++channel)
                    colors[static_cast<size_t>(index)][2 - channel] = static_cast<uchar>(
                        colors[static_cast<size_t>(index)][2 - channel] |
                        (bit < 3 ? (index >> (3 * bit + channel) & 1) << (7 - bit) : 0));
        if (!classes.empty()) read_colors();
    }

    cv::Mat decide(const cv::Mat& output) const override {
        Shape shape = shape_of(output);
        if (shape.size() != 4 || shape[1] < 2 || shape[1] > 256)
            refuse("the model's output is " + text_of(shape) +
                   "; expected (1, 2 to 256 classes, height, width)");
        check_count(shape[1]);
        cv::Mat mask;
        classes_of(output).convertTo(mask, CV_8U);
        return mask;
    }

    // Return the classes found, a line each: id, name, share of the pixels.
    vector<string> table(const cv::Mat& mask) const override {
        vector<int> ids;
        for (const auto& [index, share] : shares(mask)) ids.push_back(index);
        size_t width = widest("", ids);
        vector<string> lines{"class  " + padded("name", width) + "  pixels"};
        for (const auto& [index, share] : shares(mask))
            lines.push_back(format("%5d  ", index) + padded(name(index), width) +
                            format("  %6.2f %%", share));
        return lines;
    }

    string summarise(const cv::Mat& mask) const override {
        vector<string> found;
        for (const auto& [index, share] : shares(mask))
            found.push_back(name(index) + " " + percent(share));
        return join(found, ", ");
    }

    // Return the image under the colours of the mask, with time and legend; the frames of a video
    // have one height, whatever is found in them.
    cv::Mat draw(const cv::Mat& image, const cv::Mat& mask, double time_ms,
                 bool is_frame) const override {
        cv::Mat classes, painted(image.size(), CV_8UC3), picture;
        cv::resize(mask, classes, image.size(), 0, 0, cv::INTER_NEAREST);
        painted.forEach<cv::Vec3b>([&](cv::Vec3b& pixel, const int* place) {
            pixel = colors[classes.at<uchar>(place[0], place[1])];
        });
        cv::addWeighted(image, 0.5, painted, 0.5, 0, picture);
        picture = fit_canvas(picture);
        put_corner(picture, {format("%.1f ms", time_ms)});
        std::map<int, double> found;
        for (const auto& [index, share] : shares(mask)) found[index] = share;
        vector<int> shown;
        if (!names.empty() && names.size() <= LEGEND_CLASSES) {
            shown.resize(names.size());
            std::iota(shown.begin(), shown.end(), 0);
        } else if (!is_frame) {
            for (const auto& [index, share] : found) shown.push_back(index);
        }
        for (const cv::Mat& row : legend(shown, found, picture)) picture.push_back(row);
        return picture;
    }

private:
    // Read `name r g b` where every line of the classes file has this form.
    void read_colors() {
        vector<pair<string, cv::Vec3b>> rows;
        for (const string& line : names) {
            std::istringstream words(line);
            vector<string> parts;
            for (string word; words >> word;) parts.push_back(word);
            if (parts.size() < 4) return;
            cv::Vec3b color;
            size_t end = line.size();
            for (int channel = 0; channel < 3; ++channel) {  // from the last word, blue, on
                const string& word = parts[parts.size() - 1 - static_cast<size_t>(channel)];
                if (!is_decimal(word) || word.size() > 9 || std::stoi(word) > 255) return;
                color[channel] = static_cast<uchar>(std::stoi(word));
                end = line.rfind(word, end - 1);
            }
            rows.emplace_back(strip(line.substr(0, end)), color);
        }
        for (size_t index = 0; index < rows.size(); ++index) {
            names[index] = rows[index].first;
            if (index < colors.size()) colors[index] = rows[index].second;
        }
    }

    // Return the rows of a legend as wide as a picture: colour, name and share of the pixels of
    // each class, paler where it was not found.
    vector<cv::Mat> legend(const vector<int>& shown, const std::map<int, double>& found,
                           const cv::Mat& picture) const {
        Line line = Line::in(picture);
        int widest = 0, height = line.height + line.pad;
        vector<string> texts;
        for (int index : shown) {
            texts.push_back(line.shortened(name(index), picture.cols - 6 * line.height));
            widest = std::max(widest, line.width(texts.back() + " 100.0 %") + 2 * line.height);
        }
        size_t columns = widest ? static_cast<size_t>(std::max(1, picture.cols / widest)) : 1;
        vector<cv::Mat> rows;
        for (size_t place = 0; place < shown.size(); ++place) {
            if (place % columns == 0) rows.emplace_back(height, picture.cols, CV_8UC3, DARK);
            auto x =
                static_cast<int>(place % columns * static_cast<size_t>(picture.cols) / columns);
            cv::Rect box(x + line.pad, line.pad / 2, line.height, line.height);
            cv::rectangle(rows.back(), box, GREY, cv::FILLED);
            cv::Rect inside(box.x + 1, box.y + 1, box.width - 2, box.height - 2);
            cv::rectangle(rows.back(), inside, colors[static_cast<size_t>(shown[place])],
                          cv::FILLED);
            auto share = found.find(shown[place]);
            bool is_found = share != found.end();
            string text = texts[place] + (is_found ? " " + percent(share->second) : "");
            line.put(rows.back(), text, box.x + line.height + line.pad, line.pad / 2,
                     is_found ? WHITE : GREY);
        }
        return rows;
    }

    // Return the percentage of pixels of each class found, the largest first.
    static vector<pair<int, double>> shares(const cv::Mat& mask) {
        std::array<int64_t, 256> counts{};
        for (int row = 0; row < mask.rows; ++row)
            for (int column = 0; column < mask.cols; ++column)
                ++counts[mask.at<uchar>(row, column)];
        vector<pair<int, double>> found;
        for (int index = 0; index < 256; ++index) {
            auto count = static_cast<double>(counts[static_cast<size_t>(index)]);
            if (count > 0)
                found.emplace_back(index, 100 * count / static_cast<double>(mask.total()));
        }
        std::stable_sort(found.begin(), found.end(), [](const auto& one, const auto& other) {
            return one.second > other.second;
        });
        return found;
    }

    static string percent(double share) {
        return share >= 0.05 ? format("%.1f %%", share) : "<0.1 %";
    }

    std::array<cv::Vec3b, 256> colors{};
};

std::unique_ptr<Answers> answers_of(const string& task, const fs::path& classes,
                                    const Model& model) {
    if (task == "classification") return std::make_unique<Classification>(classes, model);
    return std::make_unique<Segmentation>(classes, model);
}

// Return "NaN" or "infinity" where an output holds one, else nothing.
string not_finite(const cv::Mat& output) {
    string found;
    for (auto value = output.begin<float>(); value != output.end<float>(); ++value) {
        if (std::isnan(*value)) return "NaN";
        if (std::abs(*value) >= std::numeric_limits<float>::max())
            found = "infinity";  // OpenCV cuts it off
    }
    return found;
}

// Files and windows

// Writes pictures, or frames as a video, and shows them in a window if `title` names one.
class Viewer {
public:
    Viewer(const fs::path& folder_, const fs::path& source_, const string& title)
        : folder(folder_), source(source_) {
        if (title.empty()) return;
        if (can_show()) window = title;
        else note = " (there is no display to show it on)";
    }

    // Write a picture or frame, or show it; return false when the user has seen enough.
    bool add(const string& name, const cv::Mat& picture, double per_second) {
        if (per_second > 0 && !window.empty()) return show(picture, false);
        if (per_second > 0) {
            write_frame(folder / (name + ".avi"), picture, per_second);
            return true;
        }
        fs::path path = folder / (name + ".png");
        check_target(path, source, "--output");
        vector<uchar> encoded;
        cv::imencode(".png", picture, encoded);
        string data(encoded.begin(), encoded.end());
        write_file(path, data.substr(0, 33) + chunk(MARK) + data.substr(33),
                   "--output");  // after the header
        say("picture: " + path.string() + note);
        return window.empty() || show(picture, true);
    }

    // Finish the video, if there is one; without it, an error discards what was written.
    void finish() {
#ifdef WITH_VIDEOIO
        if (!video) return;
        writer.release();
        double found = cv::VideoCapture(video->partial.string()).get(cv::CAP_PROP_FRAME_COUNT);
        if (found < count)  // OpenCV does not say that it could not write
            refuse_target(
                video->path,
                format("only %.0f of %d frames reached the disk; is it full?", found, count),
                "--output");
        string content = MARK + string(MARK.size() % 2, '\0'), size("\0\0\0\0", 4);
        size[0] = static_cast<char>(MARK.size());
        video->append("JUNK" + size + content);
        video->commit();
        say("video: " + video->path.string() + note);
        video.reset();
#endif
    }

private:
#ifdef WITH_VIDEOIO
    void write_frame(const fs::path& path, const cv::Mat& picture, double per_second) {
        if (!video) {
            check_target(path, source, "--output");
            video = std::make_unique<Partial>(path, "--output");
            int code = cv::VideoWriter::fourcc('M', 'J', 'P', 'G');
            if (!writer.open(video->partial.string(), code, per_second, picture.size()))
                refuse_target(path, "OpenCV cannot open it", "--output");
        }
        writer.write(picture);
        ++count;
    }

    std::unique_ptr<Partial> video;  // before the writer, which closes the file first
    cv::VideoWriter writer;
    int count = 0;
#else
    void write_frame(const fs::path&, const cv::Mat&, double) {}
#endif

#ifdef WITH_HIGHGUI
    // Return whether a window can be opened. A failure would abort the process.
    static bool can_show() {
#ifdef __linux__
        return std::getenv("DISPLAY") || std::getenv("WAYLAND_DISPLAY");
#else
        return true;
#endif
    }

    // Show a picture, and wait for a key; return false for one that quits.
    bool show(const cv::Mat& picture, bool wait) const {
        const int escape = 27, quit = 'q', most_width = 1280, most_height = 800;
        cv::namedWindow(window, cv::WINDOW_NORMAL | cv::WINDOW_GUI_NORMAL);
        double share =
            std::min({1.0, double(most_width) / picture.cols, double(most_height) / picture.rows});
        cv::resizeWindow(window, static_cast<int>(picture.cols * share),
                         static_cast<int>(picture.rows * share));
        cv::imshow(window, picture);
        while (!interrupted) {  // in short steps, so that Ctrl-C and a closed window are noticed
            int key = cv::waitKey(wait ? 20 : 1);
            bool is_closed = cv::getWindowProperty(window, cv::WND_PROP_VISIBLE) < 1;
            if (key == escape || key == quit || (is_closed && !wait)) return false;
            bool is_modifier =
                0xE1 <= key && key < 0xEF;  // Shift, Alt, ...: the last byte of X11's codes
            if ((key >= 0 && !is_modifier) || is_closed || !wait) return true;
        }
        return false;
    }
#else
    static bool can_show() {
        refuse("--show: this program is built without highgui, which opens windows");
    }
    bool show(const cv::Mat&, bool) const { return true; }
#endif

    fs::path folder, source;
    string window, note;
};

// Write blob and output of an image as two .npy files.
void save(const fs::path& base, const fs::path& source, const cv::Mat& blob,
          const cv::Mat& output) {
    vector<pair<fs::path, const cv::Mat*>> files{{base.string() + ".blob.npy", &blob},
                                                 {base.string() + ".output.npy", &output}};
    for (const auto& [path, array] : files) check_target(path, source, "--save");
    for (const auto& [path, array] : files) write_file(path, npy(*array) + MARK, "--save");
}

// Run a model on what `--input` names.
void run_model(const Arguments& args) {
    Model model = read_model(args.model);
    string task = find_task(args, model);
    Preprocessing how = find_preprocessing(args, task, model);
    std::unique_ptr<Answers> answers = answers_of(task, args.classes, model);
    Network network(args.model, find_settings(args), find_output(args, model));
    say(network.title() + ": " + std::to_string(network.layers.size()) + " layers");
    if (args.verbose)
        for (const string& layer : network.layers) say(layer);
    say("preprocessing (" + how.source + "): " + how.flags());

    Viewer viewer(args.output, args.input, args.show ? task : "");
    int count = 0;
    frames(args.input, how.exif, [&](const Frame& frame) {
        ++count;
        if (!args.save.empty() && (frame.per_second > 0 || fs::is_directory(args.input)))
            refuse("--save: found --input " + args.input.string() + "; expected a single image");
        cv::Mat blob = blob_of(frame.image, how);
        auto [output, time_ms] = network.run(blob);
        if (!args.save.empty()) save(args.save, args.input, blob, output);
        string wrong = not_finite(output);
        if (!wrong.empty())
            throw Failure(CHECK_FAILED, frame.name + ": no answer: the output of " +
                                            args.model.string() + " holds " + wrong);
        cv::Mat answer = answers->decide(output);
        string took = format("%.1f ms", time_ms);
        if (frame.per_second > 0) {
            say("frame " + std::to_string(count) + ": " + answers->summarise(answer) + ", " + took);
        } else {
            say(frame.name + ": output " + text_of(shape_of(output)) + ", warm pass " + took);
            for (const string& line : answers->table(answer)) say(line);
        }
        if (!args.save.empty()) return false;
        cv::Mat picture =
            answers->draw(seen_part(frame.image, how), answer, time_ms, frame.per_second > 0);
        return viewer.add(model.name + "-" + frame.name, picture, frame.per_second) && !interrupted;
    });
    viewer.finish();
    if (interrupted) throw Failure(INTERRUPTED, "interrupted");
}

// The verification of a bundle

const double FORMAT = 1;             // of verify.json
const size_t NAMED = 5;              // files that a line names
const string UNKNOWN = "not known";  // what OpenCV does not tell

// The SHA-256 of bytes that come in parts (FIPS 180-4).
class Sha256 {
public:
    // The constants are the first bits of the fractions of the square and cube roots of primes.
    Sha256() {
        auto fraction = [](double root) {
            return static_cast<uint32_t>(std::ldexp(root - std::floor(root), 32));
        };
        size_t count = 0;
        for (int candidate = 2; count < rounds.size(); ++candidate) {
            bool is_prime = true;
            for (int divisor = 2; divisor < candidate; ++divisor)
                is_prime = is_prime && candidate % divisor;
            if (!is_prime) continue;
            if (count < state.size()) state[count] = fraction(std::sqrt(candidate));
            rounds[count++] = fraction(std::cbrt(candidate));
        }
    }

    void add(const char* data, size_t size) {
        length += size;
        for (size_t index = 0; index < size; ++index) {
            block[filled++] = static_cast<uint8_t>(data[index]);
            if (filled == block.size()) mix();
        }
    }

    // Return the hash in hexadecimal digits.
    string finish() {
        uint64_t bit_length = 8 * length;
        add("\x80", 1);
        while (filled != 56) add("\0", 1);
        for (int shift = 56; shift >= 0; shift -= 8) {
            auto byte = static_cast<char>(bit_length >> shift);
            add(&byte, 1);
        }
        string text;
        for (uint32_t word : state) text += format("%08x", word);
        return text;
    }

private:
    static uint32_t rotated(uint32_t word, int count) {
        return word >> count | word << (32 - count);
    }

    void mix() {
        std::array<uint32_t, 64> words{};
        for (size_t i = 0; i < 16; ++i)
            for (size_t byte = 0; byte < 4; ++byte) words[i] = words[i] << 8 | block[4 * i + byte];
        for (size_t i = 16; i < 64; ++i) {
            uint32_t a = words[i - 15], b = words[i - 2];
            words[i] = words[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + words[i - 7] +
                       (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        auto [a, b, c, d, e, f, g, h] = state;
        for (size_t i = 0; i < 64; ++i) {
            uint32_t one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                           ((e & f) ^ (~e & g)) + rounds[i] + words[i];
            uint32_t two =
                (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
        }
        const std::array<uint32_t, 8> mixed{a, b, c, d, e, f, g, h};
        for (size_t i = 0; i < 8; ++i) state[i] += mixed[i];
        filled = 0;
    }

    std::array<uint32_t, 8> state{};
    std::array<uint32_t, 64> rounds{};
    std::array<uint8_t, 64> block{};
    size_t filled = 0;
    uint64_t length = 0;
};

string sha256_of(const fs::path& path) {
    check_file(path, std::numeric_limits<uintmax_t>::max());
    std::ifstream file(path, std::ios::binary);
    Sha256 found;
    string part(1 << 20, '\0');
    do {
        file.read(part.data(), static_cast<std::streamsize>(part.size()));
        found.add(part.data(), static_cast<size_t>(file.gcount()));
    } while (file);
    if (!file.eof()) refuse(path.string() + ": cannot be read");
    return found.finish();
}

// An image of a bundle: its file, and the files of what was proven for it.
struct Example {
    string name;
    fs::path image, pixels, blob, logits;
};

struct Limits {
    double decoding, preprocessing, rel, agreement;
};

// What a bundle says about itself; `args` are the flags of its preprocessing.
struct Bundle {
    fs::path folder;
    string model, verdict, task, reference, engine, version;
    bool forced = false;
    Limits limits{};
    vector<Example> examples;
    Arguments args;
    Preprocessing how;
};

// Return the path of a bundle's file; refuses one outside of the folder.
fs::path inside(const fs::path& folder, const string& name) {
    fs::path path(name);
    bool leaves = std::find(path.begin(), path.end(), "..") != path.end();
    if (path.empty() || path.is_absolute() || leaves)
        refuse(folder.string() + ": found the file name '" + name +
               "'; expected one in the folder of the bundle");
    return folder / path;
}

// Read a JSON file of a bundle; refuses one that is missing or holds something else.
Json read_object(const fs::path& path) {
    std::error_code error;
    if (!fs::exists(path, error))
        refuse(path.string() +
               ": no such file; expected that of a bundle (--bundle names its folder)");
    optional<Json> found = read_json(read_file(path, MAX_TEXT));
    if (!found) refuse(path.string() + ": not JSON");
    if (found->kind != Json::OBJECT)
        refuse(path.string() + ": found " + found->shown() + "; expected an object");
    return *found;
}

// Read verify.json and preprocessing.json; refuses a folder that is no bundle.
Bundle read_bundle(const fs::path& folder) {
    fs::path path = folder / "verify.json";
    Json content = read_object(path), preprocessing = read_object(folder / "preprocessing.json");
    const Json* version = content.find("format");
    if (!version || version->kind != Json::NUMBER || version->as_number() != FORMAT)
        refuse(path.string() + ": found the format " + (version ? version->shown() : "None") +
               "; expected 1, the one that this program knows");
    Bundle bundle;
    bundle.folder = folder;
    vector<string> flags{"--model", "model.onnx", "--input", "image"};
    try {
        const Json& limits = content.at("limits");
        auto limit = [&](const char* name) { return limits.at(name).as_number(); };
        bundle.limits = {limit("decoding"), limit("preprocessing"), limit("rel"),
                         limit("agreement")};
        for (const Json& one : content.at("images").as_array()) {
            auto file = [&](const char* name) { return inside(folder, one.at(name).as_string()); };
            bundle.examples.push_back({one.at("name").as_string(), file("image"), file("pixels"),
                                       file("blob"), file("logits")});
        }
        if (bundle.examples.empty()) throw ValueError("it has no images");
        bundle.model = content.at("model").as_string();
        bundle.verdict = content.at("verdict").as_string();
        bundle.forced = content.at("forced").is_true();
        bundle.reference = content.at("reference").as_string();
        bundle.engine = content.at("opencv").at("engine").as_string();
        bundle.version = content.at("opencv").at("version").as_string();
        bundle.task = preprocessing.at("task").as_string();
        flags.push_back("--task=" + bundle.task);
        std::istringstream given(preprocessing.at("flags").as_string());
        for (string word; given >> word;) flags.push_back(word);
    } catch (const ValueError& error) {
        refuse(path.string() + ": not a bundle's: " + error.what());
    }
    bundle.args = parse_flags(flags);
    check_flags(bundle.args);
    bundle.how = find_preprocessing(bundle.args, bundle.task, Model());
    return bundle;
}

// What a step of a verification found: `pass`, `fail` or `skipped`, why, and its figures.
struct Step {
    string result, text;
    std::map<string, double> figures;
};

Step judged(bool passes, const string& text, const std::map<string, double>& figures = {}) {
    return {passes ? "pass" : "fail", text, figures};
}

// How far arrays are from the bundled ones: the largest difference in levels, of 0 to 255, and how
// many values differ.
class Distance {
public:
    // Add an array of uint8 or float32; a unit of each of its channels, or planes, is so many
    // levels. Refuses one of another shape.
    void add(const string& name, const cv::Mat& found, const cv::Mat& expected,
             const std::array<double, 3>& levels_per_unit) {
        if (shape_of(found) != shape_of(expected))
            refuse(name + ": found the shape " + text_of(shape_of(found)) + "; expected " +
                   text_of(shape_of(expected)));
        cv::Mat one, other;
        found.convertTo(one, CV_32F);
        expected.convertTo(other, CV_32F);
        const float *value = one.ptr<float>(), *bundled = other.ptr<float>();
        size_t total = one.total() * size_t(one.channels()), plane = one.dims == 4 ? total / 3 : 1;
        for (size_t index = 0; index < total; ++index) {
            double apart = std::abs(double(value[index]) - bundled[index]);
            apart *= levels_per_unit[index / plane % 3];
            if (!(apart <= levels)) levels = apart;  // keeps a NaN
            differing += value[index] != bundled[index];
        }
        count += total;
    }

    // Return a step that says `same` where nothing differs.
    Step judge(const string& same, double limit) const {
        double rounded = std::round(1000 * levels) / 1000;
        double share = 100 * static_cast<double>(differing) / static_cast<double>(count);
        string text = format("at most %g of 255 levels apart (limit %g), %.3g %% differ", rounded,
                             limit, share);
        return judged(rounded <= limit, differing ? text : same,
                      {{"levels", rounded}, {"share", share}});
    }

private:
    double levels = 0;
    size_t differing = 0, count = 0;
};

// How many images, or pixels, get the bundled class, and the images where not all do.
struct Classes {
    int64_t same = 0, count = 0;
    vector<string> other;

    // Add logits (1, C) or (1, C, H, W); refuses another shape than the bundled one.
    void add(const string& name, const cv::Mat& found, const cv::Mat& expected) {
        if (shape_of(found) != shape_of(expected) || (found.dims != 2 && found.dims != 4))
            refuse(name + ": found an output " + text_of(shape_of(found)) + "; expected " +
                   text_of(shape_of(expected)));
        cv::Mat is_same = classes_of(found) == classes_of(expected);
        auto equal = static_cast<size_t>(cv::countNonZero(is_same));
        same += static_cast<int64_t>(equal);
        count += static_cast<int64_t>(is_same.total());
        if (equal < is_same.total()) other.push_back(name);
    }

    // Return the percentage with the bundled class.
    double agreement() const {
        return 100 * static_cast<double>(same) / static_cast<double>(count);
    }
};

// Return the first names of a list.
string first_names(vector<string> names) {
    names.resize(std::min(names.size(), NAMED));
    return join(names, ", ");
}

// The steps from a bundle's files to its answers, and `network`, null while it is not read.
class Verification {
public:
    Verification(const Bundle& bundle_, const Settings& settings_)
        : bundle(bundle_), settings(settings_) {}

    // Take a step; one that cannot be taken fails. Refuses where this OpenCV cannot read or run a
    // model that is as it was bundled.
    const Step& take(const string& name, Step (Verification::*check)()) {
        Step step;
        try {
            step = (this->*check)();
        } catch (const Unusable& failure) {
            if (find("files").result == "pass")
                refuse("OpenCV " + cv::getVersionString() +
                       " cannot run this model, proven with OpenCV " + bundle.version + ": " +
                       failure.what());
            step = judged(false, one_line(failure.what()));
        } catch (const Failure& failure) {
            step = judged(false, one_line(failure.what()));
        } catch (const cv::Exception& error) {
            step = judged(false, one_line(string("OpenCV: ") + error.what()));
        }
        steps.emplace_back(name, step);
        return steps.back().second;
    }

    const Step& find(const string& name) const {
        auto is_it = [&](const auto& step) { return step.first == name; };
        return std::find_if(steps.begin(), steps.end(), is_it)->second;
    }

    vector<string> failed() const {
        vector<string> names;
        for (const auto& [name, step] : steps)
            if (step.result == "fail") names.push_back(name);
        return names;
    }

    // Compare every listed file with its hash. Others in the folder do not count.
    Step check_files() {
        std::istringstream lines(read_file(bundle.folder / "SHA256SUMS", MAX_TEXT));
        vector<string> wrong;
        int count = 0;
        for (string line; std::getline(lines, line); ++count) {
            string sum = line.substr(0, 64), name = line.size() > 66 ? line.substr(66) : "";
            bool is_sum =
                sum.size() == 64 && sum.find_first_not_of("0123456789abcdef") == string::npos;
            if (!is_sum || name.empty() || line.substr(64, 2) != "  ")
                refuse("SHA256SUMS: found '" + line.substr(0, 80) +
                       "'; expected a hash and a name");
            fs::path path = inside(bundle.folder, name);
            std::error_code error;
            if (!fs::is_regular_file(path, error)) wrong.push_back(name + " is missing");
            else if (sha256_of(path) != sum) wrong.push_back(name + " has changed");
        }
        if (!count) refuse("SHA256SUMS: lists no file");
        string more =
            wrong.size() > NAMED ? " and " + std::to_string(wrong.size() - NAMED) + " more" : "";
        return judged(wrong.empty(),
                      wrong.empty() ? std::to_string(count) + " files" : first_names(wrong) + more);
    }

    // Compare the pixels that this OpenCV decodes with the bundled ones.
    Step check_decoding() {
        Distance distance;
        for (const Example& example : bundle.examples)
            distance.add(example.name, read_image(example.image, bundle.how.exif),
                         read_image(example.pixels, "ignore"), {1, 1, 1});
        return distance.judge("identical", bundle.limits.decoding);
    }

    // Compare the blobs that this OpenCV makes of the bundled pixels with the bundled ones.
    Step check_preprocessing() {
        Distance distance;
        const Preprocessing& how = bundle.how;
        std::array<double, 3> levels{};
        for (size_t channel = 0; channel < 3; ++channel)
            levels[channel] = (how.std[how.rgb ? channel : 2 - channel] / how.scale).value();
        for (const Example& example : bundle.examples) {
            cv::Mat found = blob_of(read_image(example.pixels, "ignore"), how);
            distance.add(example.name, found, read_npy(example.blob), levels);
        }
        return distance.judge("bit for bit", bundle.limits.preprocessing);
    }

    // Compare the logits of the bundled blobs with the bundled logits.
    Step check_network() {
        Model model = read_model(bundle.folder / "model.onnx");
        network = std::make_unique<Network>(model.path, settings, find_output(bundle.args, model));
        double linf = 0, largest = 0;
        Classes classes;
        for (const Example& example : bundle.examples) {
            cv::Mat expected = read_npy(example.logits);
            cv::Mat found = network->answer(read_npy(example.blob));
            classes.add(example.name, found, expected);
            for (const auto& [name, values] : {pair("output", found), {"bundled logits", expected}})
                if (string wrong = not_finite(values); !wrong.empty())
                    return judged(false, example.name + ": the " + name + ": found " + wrong);
            auto value = found.begin<float>();
            for (auto bundled = expected.begin<float>(); bundled != expected.end<float>();
                 ++bundled, ++value) {
                linf = std::max(linf, std::abs(double(*value) - *bundled));
                largest = std::max(largest, double(std::abs(*bundled)));
            }
        }
        double rel = linf / (largest > 0 ? largest : 1), agreement = classes.agreement();
        const Limits& limits = bundle.limits;
        string text = format("rel %.1e (limit %g), the same class in %.6g %% (limit %g %%)", rel,
                             limits.rel, agreement, limits.agreement);
        return judged(rel <= limits.rel && agreement >= limits.agreement, text,
                      {{"rel", rel}, {"agreement", agreement}});
    }

    // Compare the answers to the image files with those of the bundled logits.
    Step check_chain() {
        if (!network) return {"skipped", "the network cannot be read", {}};
        Classes classes;
        for (const Example& example : bundle.examples) {
            cv::Mat blob = blob_of(read_image(example.image, bundle.how.exif), bundle.how);
            classes.add(example.name, network->answer(blob), read_npy(example.logits));
        }
        bool passes = classes.other.empty();
        string text = "the bundled class for " + std::to_string(classes.same) + " of " +
                      std::to_string(classes.count) + " images";
        if (bundle.task == "classification") {
            if (!passes) text += ", not for " + first_names(classes.other);
        } else {
            passes = classes.agreement() >= bundle.limits.agreement;
            text = format("the bundled class in %.6g %% of the pixels (limit %g %%)",
                          classes.agreement(), bundle.limits.agreement);
        }
        const std::map<string, double>& decoding = find("decoding").figures;
        bool is_decoded_otherwise = decoding.count("levels") && decoding.at("levels") > 0;
        if (!passes && is_decoded_otherwise) text += "; differs because of decoding";
        return judged(passes, text, {{"agreement", classes.agreement()}});
    }

    // Return the median time of a warm forward pass; nothing where the network gives no answer.
    optional<double> milliseconds() {
        if (!network || find("network").figures.empty()) return {};
        cv::Mat blob = read_npy(bundle.examples[0].blob);
        vector<double> times;
        for (int pass = 0; pass < WARM_PASSES; ++pass) times.push_back(network->run(blob).second);
        std::sort(times.begin(), times.end());
        return times[WARM_PASSES / 2];
    }

    vector<pair<string, Step>> steps;  // by name, in their order
    std::unique_ptr<Network> network;

private:
    const Bundle& bundle;
    const Settings settings;
};

// Return the processor's name as Linux reports it, or the board's.
string processor() {
    std::ifstream lines("/proc/cpuinfo");
    std::map<string, string> names;
    for (string line; std::getline(lines, line);) {
        size_t mark = std::min(line.find(':'), line.size());
        names.emplace(lower(strip(line.substr(0, mark))),
                      strip(line.substr(std::min(mark + 1, line.size()))));
    }
    for (const char* key : {"model name", "model"})
        if (!names[key].empty()) return names[key];
    return UNKNOWN;
}

// Return what the result depends on here, besides the bundle.
std::map<string, string> environment(const Settings& settings, const Network* network) {
    string machine = UNKNOWN, system = UNKNOWN;
#ifdef _WIN32
    if (const char* known = std::getenv("PROCESSOR_ARCHITECTURE")) machine = known;
    system = "Windows";
#else
    utsname names;
    if (!uname(&names)) {
        machine = names.machine;
        system = string(names.sysname) + "-" + names.release;
    }
#endif
    std::map<string, string> found{{"opencv", cv::getVersionString()},
                                   {"cpu_features", cv::getCPUFeaturesLine()},
                                   {"machine", machine},
                                   {"processor", processor()},
                                   {"system", system},
                                   {"asked", settings.text()},
                                   {"engine", UNKNOWN},
                                   {"backend", UNKNOWN},
                                   {"target", UNKNOWN}};
    if (!network) return found;
    found["engine"] = network->running_engine();
    bool is_own = settings.backend == "default" || settings.backend == "opencv";
    if (found["engine"] == "new" || (is_own && settings.target == "cpu")) {
        found["backend"] = "opencv";
        found["target"] = "cpu";
    }
    return found;
}

// Create the folder of a report. Refuses to replace a file that is none.
void check_report(const fs::path& path) {
    std::error_code error;
    if (fs::symlink_status(path, error).type() != fs::file_type::not_found) {
        optional<Json> found = read_json(read_file(path, MAX_TEXT));
        if (!found || !found->find("runner"))
            refuse_target(path, "it is there, and it is no report", "--report");
    }
    error.clear();
    if (!path.parent_path().empty()) fs::create_directories(path.parent_path(), error);
    if (error) refuse_target(path, reason_of(error), "--report");
}

// Return a report as JSON, with the keys of run_onnx.py's.
string report_of(const Bundle& bundle, const Verification& verification, optional<double> time_ms,
                 const std::map<string, string>& found) {
    string passed = verification.failed().empty() ? "true" : "false";
    vector<string> steps, known;
    for (const auto& [name, step] : verification.steps) {
        string line = quoted(name) + ": {\"result\": " + quoted(step.result) +
                      ", \"text\": " + quoted(step.text);
        for (const auto& [figure, value] : step.figures)
            line += ", " + quoted(figure) + ": " + (std::isfinite(value) ? shortest(value) : "NaN");
        steps.push_back(line + "}");
    }
    for (const auto& [name, value] : found) known.push_back(quoted(name) + ": " + quoted(value));
    known.push_back("\"threads\": " + std::to_string(cv::getNumThreads()));
    string time = time_ms ? "  \"milliseconds\": " + shortest(*time_ms) + ",\n" : "";
    return "{\n  \"format\": 1,\n  \"model\": " + quoted(bundle.model) +
           ",\n  \"verdict\": " + quoted(bundle.verdict) +
           ",\n  \"forced\": " + (bundle.forced ? "1" : "0") +
           ",\n  \"runner\": \"c++\",\n  \"passed\": " + passed + ",\n  \"steps\": {\n    " +
           join(steps, ",\n    ") + "\n  },\n" + time + "  \"environment\": {\n    " +
           join(known, ",\n    ") + "\n  }\n}\n";
}

// Verify a bundle and print a line for each step; throws a Failure of exit code 1 without a message
// where one fails.
void verify(Arguments args) {
    Bundle bundle = read_bundle(args.bundle.empty() ? "." : args.bundle);
    Names known = engines();
    auto is_bundled = [&](const auto& engine) { return engine.first == bundle.engine; };
    if (!args.engine && std::any_of(known.begin(), known.end(), is_bundled))
        args.engine = bundle.engine;
    Settings settings = find_settings(args);
    if (!args.report.empty()) check_report(args.report);
    if (bundle.forced) say("this model did not pass: " + bundle.verdict);
    say(bundle.model + ", " + bundle.task + ": proven with " + bundle.reference + " and OpenCV " +
        bundle.version + "; here OpenCV " + cv::getVersionString());

    Verification verification(bundle, settings);
    const vector<pair<string, Step (Verification::*)()>> checks{
        {"files", &Verification::check_files},
        {"decoding", &Verification::check_decoding},
        {"preprocessing", &Verification::check_preprocessing},
        {"network", &Verification::check_network},
        {"chain", &Verification::check_chain}};
    for (const auto& [name, check] : checks) {
        const Step& step = verification.take(name, check);
        say(name + ": " + step.result + ": " + step.text);
    }
    optional<double> time_ms = verification.milliseconds();
    if (time_ms) say(format("time: %.1f ms, the median of %d warm passes", *time_ms, WARM_PASSES));
    std::map<string, string> found = environment(settings, verification.network.get());
    say("OpenCV " + found["opencv"] + " on " + found["machine"] + ", " + found["processor"] + ", " +
        found["system"]);
    say("CPU features: " + found["cpu_features"]);
    say(std::to_string(cv::getNumThreads()) + " threads; asked for " + found["asked"] +
        "; ran engine " + found["engine"] + ", backend " + found["backend"] + ", target " +
        found["target"]);
    if (!args.report.empty()) {
        write_file(args.report, report_of(bundle, verification, time_ms, found), "--report");
        say("report: " + args.report.string());
    }
    vector<string> failed = verification.failed();
    say(failed.empty() ? "verify: pass" : "verify: fail: " + join(failed, ", "));
    if (!failed.empty()) throw Failure(CHECK_FAILED, "");
}

// Let the standard streams exist, also where the shell has closed them: the next file to be opened
// would get their number, and be written to by any library that prints.
void open_standard_streams() {
#ifndef _WIN32
    for (int number = 0; number < 3; ++number)
        if (fcntl(number, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) std::_Exit(WRONG_INPUT);
#endif
}

extern "C" void interrupt(int signal) {
    interrupted = 1;
    std::signal(signal, SIG_DFL);  // a second one ends the process
}

int run(const vector<string>& words) {
    try {
        Arguments args = parse_flags(words);
        if (args.help) std::cout << help();
        else check_flags(args);
        if (args.verify && !args.help) verify(args);
        else if (!args.help) run_model(args);
        std::cout.flush();
        if (!std::cout) refuse("stdout: cannot be written");
        return DONE;
    } catch (const Failure& failure) {
        string start = failure.code == INTERRUPTED ? "" : "error: ";
        if (*failure.what()) complain(start + one_line(failure.what()));
        return failure.code;
    } catch (const cv::Exception& error) {
        complain(one_line(string("error: OpenCV: ") + error.what()));
    } catch (const std::bad_alloc&) {
        complain("error: out of memory; expected a smaller image or model");
    } catch (const std::exception& error) {
        complain(one_line(string("error: ") + error.what()));
    }
    return WRONG_INPUT;
}

int main(int count, char** words) {
    open_standard_streams();
    // The logs repeat what is thrown.
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
#ifndef _WIN32
    setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0);
#endif
    std::signal(SIGINT, interrupt);
    std::signal(SIGTERM, interrupt);
    return run({words + 1, words + count});
}
