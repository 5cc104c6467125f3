import Foundation
import TensorFiles

/// Files that ship with the tests.
enum Fixtures {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fixtures")

  static func npy(_ name: String) -> String { root.appending(path: "npy/\(name).npy").path }

  static let realTensors =
    root.appending(path: "real/minilm-n512-layers0and3.safetensors").path
}

/// A directory that lives as long as the test that made it.
final class TemporaryDirectory {
  private let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory
      .appending(path: "tensor-files-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit {
    try? FileManager.default.removeItem(at: url)
  }

  func path(_ name: String) -> String { url.appending(path: name).path }

  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = path(name)
    try Data(bytes).write(to: URL(filePath: path))
    return path
  }

  /// Hidden ones included.
  func contents() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: url.path).sorted()
  }
}

func bytes(of path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(filePath: path)))
}

extension HostTensor {
  convenience init(_ shape: [Int], _ values: [Float]) throws {
    try self.init(shape: shape) { elements in
      _ = elements.update(fromContentsOf: values)
    }
  }

  var values: [Float] { withUnsafeElements { Array($0) } }
}

/// A `.npy` file of any header and any data.
func npy(
  header: String, data: Int = 0, version: (UInt8, UInt8) = (1, 0), length: Int? = nil
) -> [UInt8] {
  let length = length ?? header.utf8.count
  let width = version.0 == 1 ? 2 : 4
  let lengthBytes = (0..<width).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
  return [0x93] + Array("NUMPY".utf8) + [version.0, version.1] + lengthBytes + Array(header.utf8)
    + [UInt8](repeating: 0, count: data)
}

func npy(
  descr: String = "'<f4'", fortran: String = "False", shape: String, data: Int = 0
) -> [UInt8] {
  npy(
    header: "{'descr': \(descr), 'fortran_order': \(fortran), 'shape': \(shape)}", data: data)
}

/// A `.safetensors` file of any header and any data.
func safetensors(header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
  safetensors(header: header, data: [UInt8](repeating: 0, count: data), length: length)
}

func safetensors(header: String, data: [UInt8], length: UInt64? = nil) -> [UInt8] {
  let length = length ?? UInt64(header.utf8.count)
  return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array(header.utf8) + data
}

func entry(
  _ name: String, _ shape: [Int], _ begin: Int, _ end: Int, as dtype: String = "F32"
) -> String {
  "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}"
}

/// The reason `body` fails for, or nil. Any other error is the test's failure.
func reason(_ body: () throws -> Void) throws -> TensorFileError.Reason? {
  do {
    try body()
    return nil
  } catch let error as TensorFileError {
    return error.reason
  }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
