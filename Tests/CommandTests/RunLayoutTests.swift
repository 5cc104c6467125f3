import TensorFiles
import Testing

@Suite("attnbench run: packed sequences and windows")
struct RunLayoutTests {
  static let starts = [0, 5, 5, 9, 14]
  static let keyStarts = [0, 3, 10, 16, 17]

  /// Packed tensors [h, n, d], and the run on one sequence of them alone.
  private func sequence(_ process: RunProcess, _ index: Int) throws -> (
    output: [Float], lse: [Float]
  ) {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let rows = Self.starts[index]..<Self.starts[index + 1]
    let keys = Self.keyStarts[index]..<Self.keyStarts[index + 1]
    func cut(_ tensor: HostTensor, _ range: Range<Int>) throws -> HostTensor {
      let whole = try HostTensor(shape: [1] + tensor.shape) { target in
        _ = target.update(fromContentsOf: tensor.elements)
      }
      return try RunCacheTests.rows(whole, range)
    }
    for (name, tensor, range) in [
      ("q", process.tensors.query, rows), ("k", process.tensors.key, keys),
      ("v", process.tensors.value, keys),
    ] {
      try NpyFile.write(cut(tensor, range), to: directory.path(name + ".npy"))
    }
    let result = try AttnbenchProcess.run(
      [
        "run", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "-o", "o.npy", "--lse", "l.npy",
        "--strategy", "flash", "--causal",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    return (
      try NpyFile.read(directory.path("o.npy")).elements,
      try NpyFile.read(directory.path("l.npy")).elements
    )
  }

  @Test("each packed sequence is what it is alone")
  func packed() throws {
    let process = try RunProcess(query: [4, 14, 6], key: [2, 17, 6], value: [2, 17, 3])
    defer { process.directory.remove() }
    try process.write(
      "s", [5], as: .integer(isSigned: true, byteWidth: 4), Self.starts.map(Int32.init))
    let result = try process.run(
      [
        "--strategy", "flash", "--causal", "--cu-seqlens", "s.npy", "--cu-seqlens-kv",
        Self.keyStarts.map(String.init).joined(separator: ","),
      ])
    #expect(result.code == 0, "\(result.error)")
    let output = try NpyFile.read(process.directory.path("o.npy"))
    let lse = try NpyFile.read(process.directory.path("lse.npy"))
    #expect(output.shape == [4, 14, 3] && lse.shape == [4, 14])
    for index in [0, 2, 3] {
      let alone = try sequence(process, index)
      let rows = Self.starts[index]..<Self.starts[index + 1]
      for head in 0..<4 {
        for (row, place) in rows.enumerated() {
          let from = (head * rows.count + row) * 3
          let to = (head * 14 + place) * 3
          expectClose(
            Array(output.elements[to..<to + 3]), alone.output[from..<from + 3].map(Double.init))
          expectClose(
            [lse.elements[head * 14 + place]], [Double(alone.lse[head * rows.count + row])])
        }
      }
    }
  }

  @Test("starts that mark no sequences are refused")
  func badStarts() throws {
    let process = try RunProcess(query: [4, 14, 6], key: [2, 14, 6], value: [2, 14, 3])
    defer { process.directory.remove() }
    let flash = ["--strategy", "flash"]
    for starts in ["14", "1,14", "0,9,5,14", "0,x"] {
      try process.refuse(flash + ["--cu-seqlens", starts], "--cu-seqlens \(starts)")
    }
    try process.refuse(
      flash + ["--cu-seqlens", "0,5,13"], "the sequences end at row 13, and it has 14", code: 1)
    try process.refuse(
      flash + ["--cu-seqlens", "0,14", "--cu-seqlens-kv", "0,5,14"], "they must agree")
    try process.refuse(flash + ["--cu-seqlens-kv", "0,14"], "give --cu-seqlens for the queries")
    try process.refuse(
      flash + ["--cu-seqlens", "0,14", "--kv-lengths", "14"], "--kv-lengths 14: the lengths follow")
    let batched = try RunProcess()
    defer { batched.directory.remove() }
    try batched.refuse(
      flash + ["--cu-seqlens", "0,5"], "sequences behind each other are one batch entry", code: 1)
  }

  @Test("folded heads need their number, and only they take one")
  func heads() throws {
    let process = try RunProcess(query: [2, 5, 12], key: [2, 9, 6], value: [2, 9, 4])
    defer { process.directory.remove() }
    let flash = ["--strategy", "flash"]
    try process.refuse(flash + ["--layout", "bnd"], "say how many with --heads")
    try process.refuse(flash + ["--heads", "2"], "--heads 2: tensors of --layout bhnd")
    try process.refuse(
      flash + ["--layout", "bnd", "--heads", "0"], "--heads 0: must be at least 1")
    try process.refuse(
      flash + ["--layout", "bnd", "--heads", "5", "--kv-heads", "1"],
      "--q q.npy has shape [2, 5, 12]; its last axis must be a multiple of the 5 heads", code: 1)
    let result = try process.run(flash + ["--layout", "bnd", "--heads", "4", "--kv-heads", "2"])
    #expect(result.code == 0, "\(result.error)")
    #expect(try NpyFile.read(process.directory.path("o.npy")).shape == [2, 5, 8])
  }

  @Test(
    "the window's numbers are the strategy's",
    arguments: [
      (["--window-left", "2"], "window(left: 2, right: -1)"),
      (["--window-left", "2", "--causal"], "window(left: 2, right: 0)"),
      (["--window-right", "1"], "window(left: -1, right: 1)"),
      (["--window-left", "1", "--window-right", "2"], "window(left: 1, right: 2)"),
      (["--window-left", "-1", "--window-right", "-1"], "window(left: -1, right: -1)"),
      (["--window-left", "0", "--sinks", "2"], "window(left: 0, right: -1, sinks: 2)"),
    ])
  func window(_ options: [String], _ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let result = try process.run(options)
    #expect(result.code == 0 && result.error.hasPrefix(strategy), "\(result.error)")
    func number(_ option: String) -> Int? {
      options.firstIndex(of: option).flatMap { Int(options[$0 + 1]) }.flatMap { $0 < 0 ? nil : $0 }
    }
    var formula = PlainAttention(process.tensors)
    formula.offset = 4
    formula.sees = { position, key in
      if options.contains("--causal"), key > position { return false }
      if key < number("--sinks") ?? 0 { return true }
      return key >= position - (number("--window-left") ?? 100)
        && key <= position + (number("--window-right") ?? 100)
    }
    expectClose(try process.output("o"), formula.compute().output)
    // Written as a strategy: the same bits.
    let output = try process.output("o")
    let written = try process.run(["--strategy", strategy] + options.filter { $0 == "--causal" })
    #expect(written.code == 0, "\(written.error)")
    #expect(try process.output("o") == output)
  }

  @Test(
    "windows that cannot be meant",
    arguments: [
      (["--strategy", "flash", "--window-left", "2"], "--strategy flash: a window is a strategy"),
      (["--window-left", "-2"], "--window-left -2"), (["--sinks", "2"], "--sinks 2: stand beside"),
      (["--window-left", "1", "--sinks", "-2"], "--sinks -2"),
    ])
  func badWindows(_ options: [String], _ named: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.refuse(options, named)
  }
}
