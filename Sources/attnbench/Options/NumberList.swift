import Attention
import TensorFiles

/// Numbers for a batch entry or a head each, written out, `100,87`, or held by a file of rank 1.
enum NumberList {
  /// Whole numbers.
  ///
  /// - Throws: `UsageError` naming what is none, or `TensorFileError`.
  static func integers(_ text: String, option: String) throws -> [Int] {
    guard let tensor = try tensor(text, option, as: .integer) else {
      return try parse(text, option, "whole number", "100,1.5k") { try? CountText.parse($0) }
    }
    guard let numbers = tensor.integers() else {
      throw UsageError(
        "\(option) \(text): holds a number beyond \(Int.max), which nothing here can be")
    }
    return numbers
  }

  /// Numbers with a fraction.
  ///
  /// - Throws: `UsageError` naming what is none, or `TensorFileError`.
  static func floats(_ text: String, option: String) throws -> [Float] {
    guard let tensor = try tensor(text, option, as: .floating)?.floats() else {
      return try parse(text, option, "number", "-1,0.5") { Float($0) }
    }
    return tensor.withUnsafeElements { Array($0) }
  }

  private static func tensor(
    _ text: String, _ option: String, as kind: FileElementType.Kind
  ) throws -> FileTensor? {
    guard text.contains(".npy") || text.contains(".safetensors") else { return nil }
    let tensor = try TensorFile.readStored(TensorReference(text), as: [kind])
    guard tensor.shape.count == 1 else {
      throw UsageError(
        "\(option) \(text): has \(tensor.shape.count) dimensions; one is needed, a number for each "
          + "batch entry or head")
    }
    return tensor
  }

  private static func parse<Number>(
    _ text: String, _ option: String, _ what: String, _ example: String,
    _ number: (Substring) -> Number?
  ) throws(UsageError) -> [Number] {
    var numbers: [Number] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let number = number(part) else {
        throw UsageError(
          "\(option) \(text): '\(part)' is no \(what); write as \(example), or name a .npy file or "
            + "FILE.safetensors:KEY")
      }
      numbers.append(number)
    }
    return numbers
  }
}
