import Foundation
import TensorFiles
import Testing

/// Heads of queries and keys that several heads of values share.
@Suite("attnbench run: groups of value heads")
struct SharedHeadsTests {
  private static let (heads, share, n) = (2, 3, 9)

  /// Rows of `columns` numbers a head, in either order of the axes, each head `times` times.
  private static func tensor(
    _ heads: Int, _ columns: Int, times: Int = 1, rowsFirst: Bool, phase: Double
  ) throws -> HostTensor {
    let all = heads * times
    let shape = rowsFirst ? [1, n, all, columns] : [1, all, n, columns]
    return try HostTensor(shape: shape) { elements in
      for index in elements.indices {
        let (outer, column) = index.quotientAndRemainder(dividingBy: columns)
        let (row, head) = rowsFirst ? (outer / all, outer % all) : (outer % n, outer / n)
        elements[index] = Float(
          sin(12.9898 * Double((head / times * n + row) * columns + column) + phase))
      }
    }
  }

  @Test("each head serves its group", arguments: ["flash", "ssd"], [false, true])
  func groups(_ strategy: String, _ rowsFirst: Bool) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let all = Self.heads * Self.share
    func write(_ name: String, _ tensor: HostTensor) throws {
      try NpyFile.write(tensor, to: directory.path(name + ".npy"))
    }
    for (times, suffix) in [(1, ""), (Self.share, "-repeated")] {
      try write(
        "q" + suffix, Self.tensor(Self.heads, 5, times: times, rowsFirst: rowsFirst, phase: 0.3))
      try write(
        "k" + suffix, Self.tensor(Self.heads, 5, times: times, rowsFirst: rowsFirst, phase: 1.1))
    }
    try write("v", Self.tensor(all, 7, rowsFirst: rowsFirst, phase: 2.7))
    try write(
      "dt",
      HostTensor(shape: [1, all, Self.n]) { for i in $0.indices { $0[i] = 0.01 * Float(i) } })
    try write(
      "a", HostTensor(shape: [1, all]) { for i in $0.indices { $0[i] = -1 - Float(i) } })
    var results: [[UInt32]] = []
    for suffix in ["", "-repeated"] {
      let result = try AttnbenchProcess.run(
        ["run", "--q", "q\(suffix).npy", "--k", "k\(suffix).npy", "--v", "v.npy", "-o", "o.npy"]
          + ["--strategy", strategy, "--causal", "--layout", rowsFirst ? "bnhd" : "bhnd"]
          + (strategy == "ssd" ? ["--operand", "dt=dt.npy", "--operand", "a=a.npy"] : []),
        in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      let output = try NpyFile.read(directory.path("o.npy"))
      #expect(output.shape == (rowsFirst ? [1, Self.n, all, 7] : [1, all, Self.n, 7]))
      results.append(output.elements.map(\.bitPattern))
    }
    #expect(results[0] == results[1])
  }
}
