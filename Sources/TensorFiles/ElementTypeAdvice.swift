/// What to say of a tensor whose elements are not of a type that is needed: which are, and how to save
/// them so.
struct ElementTypeAdvice {
  /// The tensor's name in a `.safetensors` file; nil for a `.npy` file.
  let tensor: String?
  /// The type as the file writes it.
  let found: String
  /// What is needed.
  let accepted: [FileElementType.Kind]

  /// `holds big-endian int64 (>i8) elements; integers are needed here, little-endian and of 1 to 8
  /// bytes: np.save(path, ...)`.
  var text: String {
    let kinds = accepted.map(\.rawValue).joined(separator: " or ")
    let what = tensor.map { "tensor '\($0)' is \(found)" } ?? "holds \(name.text) elements"
    let types = accepted.map(typesRead).joined(separator: ", or ")
    return "\(what); \(kinds) is needed here (\(types)): \(ways)"
  }

  private var name: NpyTypeName { NpyTypeName.describe(found) }

  private func typesRead(_ kind: FileElementType.Kind) -> String {
    switch (kind, tensor) {
    case (.floating, nil): "little-endian float32 (<f4), float64 (<f8), float16 (<f2)"
    case (.floating, _): "F32, F16, BF16, F64"
    case (.bool, nil): "bool (|b1)"
    case (.bool, _): "BOOL"
    case (.integer, nil): "little-endian int64 (<i8) to uint8 (|u1)"
    case (.integer, _): "I64 to U8"
    }
  }

  /// One way a kind, in the words of who saved the file.
  private var ways: String {
    if tensor != nil {
      return "before saving, convert with "
        + accepted.map { "x.\(torchMethod($0))() (torch) or x.astype(\(numpyType($0)))" }
        .joined(separator: ", or ")
    }
    if let swapped = byteSwapped, accepted.contains(swapped.kind) {
      return "np.save(path, x.astype(x.dtype.newbyteorder('<')))"
    }
    return accepted.map { "np.save(path, \(conversion(to: numpyType($0))))" }.joined(
      separator: " or ")
  }

  /// The type that the file would hold if its bytes were the other way round; nil where that is none
  /// that is read.
  private var byteSwapped: FileElementType? {
    found.hasPrefix(">") ? FileElementType(npyDescriptor: "<" + found.dropFirst()) : nil
  }

  private func conversion(to type: String) -> String {
    switch name.kind {
    case .structured: "x['field'].astype(\(type))"
    case .object: "np.array(x.tolist(), dtype=\(type))"
    case .plain: "x.astype(\(type))"
    }
  }

  private func numpyType(_ kind: FileElementType.Kind) -> String {
    switch kind {
    case .floating: "np.float32"
    case .bool: "bool"
    case .integer: "np.int64"
    }
  }

  private func torchMethod(_ kind: FileElementType.Kind) -> String {
    switch kind {
    case .floating: "float"
    case .bool: "bool"
    case .integer: "long"
    }
  }
}
