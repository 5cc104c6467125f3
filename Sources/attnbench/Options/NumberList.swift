import Attention
import AttentionBench
import TensorFiles

/// Numbers for a batch entry or a head each, written out, `100,87`, or held by a file of rank 1.
enum NumberList {
  /// Whole numbers.
  ///
  /// - Throws: `UsageError` naming what is none; `TensorFileError` or `FileProblemError` where a file is at
  ///   fault.
  static func integers(_ text: String, option: String) throws -> [Int] {
    guard let tensor = try tensor(text, option, as: .integer) else {
      return try parse(text, option, "whole number", "100,1.5k") { try? CountText.parse($0) }
    }
    guard let numbers = tensor.integers() else {
      throw FileProblemError(
        source: "\(option) \(text)",
        problem: "holds a number beyond \(Int.max), which nothing here can be")
    }
    return numbers
  }

  /// Numbers with a fraction.
  ///
  /// - Parameter large: what becomes of finite numbers that fp32 has no room for.
  /// - Throws: `UsageError` naming what is none or too large; `TensorFileError` or `FileProblemError` where a
  ///   file is at fault.
  static func floats(
    _ text: String, option: String, _ large: LargeNumbers = .refused
  ) throws -> [Float] {
    do {
      if let floats = try tensor(text, option, as: .floating)?.floats(large) {
        return floats.withUnsafeElements { Array($0) }
      }
    } catch let error as Float32RangeError {
      throw FileProblemError(source: "\(option) \(text)", problem: "\(error)")
    }
    return try parse(text, option, "number", "-1,0.5") { (part) throws(UsageError) in
      do throws(FloatText.Fault) {
        return try FloatText.parse(part)
      } catch {
        switch (error, large) {
        case (.noNumber, _): return nil
        case (.tooSmall, _): return 0
        case (.tooLarge(let isNegative), .saturated):
          return isNegative ? -.greatestFiniteMagnitude : .greatestFiniteMagnitude
        case (.tooLarge, .refused):
          throw UsageError("\(option) \(text): '\(part)' \(error.rule); \(error.fix)")
        }
      }
    }
  }

  /// Whether the numbers are in a file, not written out.
  static func isFile(_ text: String) -> Bool {
    text.contains(".npy") || text.contains(".safetensors")
  }

  /// The error of numbers that break a rule: of the file that holds them, or of what was typed.
  static func fault(in text: String, option: String, _ rule: String) -> any Error {
    isFile(text)
      ? FileProblemError(source: "\(option) \(text)", problem: "does not fit: it \(rule)")
      : UsageError("\(option) \(text): \(rule)")
  }

  private static func tensor(
    _ text: String, _ option: String, as kind: FileElementType.Kind
  ) throws -> FileTensor? {
    guard isFile(text) else { return nil }
    let tensor = try TensorFile.readStored(TensorReference(text), as: [kind])
    guard tensor.shape.count == 1 else {
      throw FileProblemError(
        source: "\(option) \(text)",
        problem:
          "has shape \(tensor.shape); one dimension is needed, a number for each batch entry "
          + "or head")
    }
    return tensor
  }

  private static func parse<Number>(
    _ text: String, _ option: String, _ what: String, _ example: String,
    _ number: (Substring) throws(UsageError) -> Number?
  ) throws(UsageError) -> [Number] {
    var numbers: [Number] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let number = try number(part) else {
        throw UsageError(
          "\(option) \(text): '\(part)' is no \(what); write as \(example), or name a .npy file or "
            + "FILE.safetensors:KEY")
      }
      numbers.append(number)
    }
    return numbers
  }
}
