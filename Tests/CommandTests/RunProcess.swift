import Foundation
import TensorFiles
import Testing

/// `attnbench run` on q.npy, k.npy and v.npy of a directory of its own.
struct RunProcess {
  let directory: TemporaryDirectory
  let tensors: TestTensors

  init(query: [Int], key: [Int], value: [Int]) throws {
    directory = try TemporaryDirectory()
    tensors = try TestTensors(query: query, key: key, value: value)
    try tensors.write(to: directory)
  }

  /// Two sequences, four query heads on two key/value heads.
  init() throws {
    try self.init(query: [2, 4, 5, 6], key: [2, 2, 9, 6], value: [2, 2, 9, 3])
  }

  func run(_ arguments: [String]) throws -> AttnbenchProcess.Result {
    try AttnbenchProcess.run(
      ["run", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "-o", "o.npy", "--lse", "lse.npy"]
        + arguments, in: directory.root)
  }

  /// Runs and holds output and log-sum-exp against the formula.
  func expect(_ arguments: [String], _ configure: (inout PlainAttention) -> Void) throws {
    let result = try run(arguments)
    #expect(result.code == 0, "\(result.error)")
    guard result.code == 0 else { return }
    var formula = PlainAttention(tensors)
    configure(&formula)
    let expected = formula.compute()
    expectClose(try output("o"), expected.output)
    expectClose(try output("lse"), expected.logSumExp)
  }

  /// Runs and expects a refusal that names something.
  func refuse(_ arguments: [String], _ named: String, code: Int32 = 64) throws {
    let before = try directory.contents
    let result = try run(arguments)
    #expect(result.code == code, "\(result.error)")
    #expect(result.errorLines.count == 1 && result.error.contains(named), "\(result.error)")
    #expect(try directory.contents == before)
  }

  func output(_ name: String) throws -> [Float] {
    try NpyFile.read(directory.path(name + ".npy")).elements
  }

  /// Writes name.npy.
  func write<Element: BitwiseCopyable>(
    _ name: String, _ shape: [Int], as type: FileElementType, _ elements: [Element]
  ) throws {
    let tensor = try FileTensor(shape: shape, elementType: type) { bytes in
      elements.withUnsafeBytes { bytes.copyMemory(from: $0) }
    }
    try NpyFile.write(tensor, to: directory.path(name + ".npy"))
  }
}

/// fp32 rounds some tens of times on the way; the elements are of the order of 1.
func expectClose(_ found: [Float], _ expected: [Double]) {
  #expect(found.count == expected.count)
  for (index, (value, reference)) in zip(found, expected).enumerated() {
    let isClose = Double(value) == reference || abs(Double(value) - reference) <= 4e-6
    #expect(isClose, "element \(index): \(value), expected \(reference)")
  }
}
