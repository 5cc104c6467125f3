extension TensorFileError.Reason {
  /// The message without the file's name.
  var explanation: String {
    switch self {
    case .system(let operation, let errno):
      "cannot \(operation): \(errno)"
    case .output(let error):
      error.explanation
    case .notARegularFile:
      "is not a regular file; tensors are read from regular files only"
    case .unknownExtension:
      "the name must end in .npy or .safetensors"
    case .outOfMemory(let error):
      "\(error)"
    case .notThisFormat(let what):
      what
    case .unsupportedVersion(let major, let minor):
      "is .npy version \(major).\(minor); 1.0, 2.0 and 3.0 are accepted"
    case .headerPastEnd(let length, let available):
      "is truncated: the header should be \(length) bytes long and only \(available) follow"
    case .headerTooLong(let length, let limit):
      "claims a header of \(length) bytes; at most \(limit) are accepted, the file is damaged"
    case .malformedHeader(let what):
      "the header is malformed: \(what)"
    case .duplicateName(let name):
      "the header has two entries named '\(name)'"
    case .badShape(let tensor, let error):
      "\(subject(tensor))\(error)"
    case .fortranOrder:
      "holds a column-major array (fortran_order True); row-major is accepted: "
        + "np.save(path, np.ascontiguousarray(x))"
    case .unexpectedElementType(let tensor, let found, let accepted):
      ElementTypeAdvice(tensor: tensor, found: found, accepted: accepted).text
    case .unwritableElementType(let type):
      "cannot be written as \(type); .npy stores float32, float64 and float16, and "
        + ".safetensors bfloat16 as well"
    case .beyondFloat32(let tensor, let error):
      "\(subject(tensor))\(error)"
    case .wrongByteCount(let tensor, let shape, let type, let expected, let found):
      "\(subject(tensor))\(expected > found ? "is truncated" : "has bytes left over"): shape "
        + "\(FileShape.describe(shape)) of \(type) takes \(expected) bytes, and there are "
        + "\(found)"

    case .badOffsets(let tensor, let begin, let end):
      "\(subject(tensor))has data offsets [\(begin), \(end)]; they must satisfy 0 <= begin <= end"
    case .offsetsPastEnd(let tensor, let end, let available):
      "\(subject(tensor))ends at data byte \(end), and the file has only \(available): it is "
        + "truncated or its header is damaged"
    case .overlap(let first, let second):
      "the tensors '\(first)' and '\(second)' share bytes; the header is damaged"
    case .hole(let begin, let end):
      "data bytes \(begin) to \(end) belong to no tensor; the header is damaged"
    case .noSuchTensor(let name, let nearest, let prefixes):
      "holds no tensor '\(name)'" + suggestion(nearest) + list("prefixes", prefixes)
    case .tensorNotNamed(let available):
      available.isEmpty
        ? "holds no tensors"
        : "holds \(available.count) tensors; name one as FILE:NAME" + list("names", available)
    case .noSuchGroup(let prefix, let missing, let nearest, let prefixes):
      group(prefix: prefix, missing: missing, nearest: nearest, prefixes: prefixes)
    case .severalTensors(let names):
      "a .npy file holds one tensor, not \(names.joined(separator: ", ")); write .safetensors"
    case .notAGroup:
      "a .npy file holds one tensor, and q, k and v are needed: give a .safetensors file that "
        + "holds the three, or one .npy file for each"
    case .selectorNotAllowed(let selector):
      "a .npy file holds one tensor; leave out ':\(selector)'"
    case .emptySelector:
      "a name must follow the colon: FILE.safetensors:PREFIX or FILE.safetensors:NAME"
    }
  }

  private func subject(_ tensor: String?) -> String {
    tensor.map { "tensor '\($0)' " } ?? ""
  }

  private func group(
    prefix: String?, missing: [String], nearest: [String], prefixes: [String]
  ) -> String {
    let names = missing.map { "'\($0)'" }.joined(separator: ", ")
    let start = "holds no \(names)"
    if prefix == nil, !prefixes.isEmpty {
      return start + " without a prefix; name one as FILE:PREFIX" + list("prefixes", prefixes)
    }
    return start + suggestion(nearest) + list("prefixes", prefixes)
  }

  private func suggestion(_ nearest: [String]) -> String {
    nearest.isEmpty
      ? "" : "; did you mean " + nearest.map { "'\($0)'" }.joined(separator: " or ") + "?"
  }

  /// At most 12 of them: a checkpoint may hold thousands.
  private func list(_ what: String, _ names: [String]) -> String {
    guard !names.isEmpty else { return "" }
    let more = names.count > 12 ? ", ... \(names.count - 12) more" : ""
    return " (\(what): \(names.prefix(12).joined(separator: ", "))\(more))"
  }
}
