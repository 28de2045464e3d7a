package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// mount is one time that the disk is accessible.
type mount struct {
	server *fuse.Server
	dir    string
}

// Mount makes the disk accessible at the directory, with power. It needs root and
// /dev/fuse; without them the error is ErrAbsent.
func (d *Disk) Mount(dir string) error {
	if d.mount != nil {
		return errOff
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil || os.Getuid() != 0 {
		return fmt.Errorf("%w: it needs root and /dev/fuse", ErrAbsent)
	} else {
		_ = f.Close()
	}
	d.mu.Lock()
	d.off = false
	d.mu.Unlock()
	none := time.Duration(0)
	server, err := fs.Mount(dir, &root{d: d}, &fs.Options{
		EntryTimeout: &none, AttrTimeout: &none, NegativeTimeout: &none,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "disk", Name: "disk", MaxWrite: 1 << 20},
	})
	if err != nil {
		return fmt.Errorf("mounting a disk: %w", err)
	}
	d.mount = &mount{server: server, dir: dir}
	return nil
}

// ErrAbsent says that disks cannot be mounted here.
var ErrAbsent = errors.New("no disk can be mounted here")

// Unmount takes the disk away. Whoever used it must have ended.
func (d *Disk) Unmount() error {
	if d.mount == nil {
		return nil
	}
	m := d.mount
	var err error
	for range 200 { // files of a process that was killed are closed a moment later
		if err = syscall.Unmount(m.dir, 0); err != syscall.EBUSY {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("unmounting a disk: %w", err)
	}
	m.server.Wait()
	d.mount = nil
	return nil
}

// root is the directory.
type root struct {
	fs.Inode
	d *Disk
}

var _ = interface {
	fs.NodeLookuper
	fs.NodeCreater
	fs.NodeUnlinker
	fs.NodeRenamer
	fs.NodeReaddirer
	fs.NodeGetattrer
	fs.NodeFsyncer
	fs.NodeStatfser
}((*root)(nil))

func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return err.(syscall.Errno)
}

// Getattr tells that the directory is the owner's alone.
func (r *root) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = fuse.S_IFDIR | 0o700
	return 0
}

// Lookup finds a file.
func (r *root) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	f, ok := r.d.files[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	f.attr(&out.Attr)
	return r.inode(ctx, f), 0
}

func (r *root) inode(ctx context.Context, f *file) *fs.Inode {
	return r.NewInode(ctx, &node{d: r.d, f: f}, fs.StableAttr{Mode: fuse.S_IFREG, Ino: f.ino})
}

// Create makes a file.
func (r *root) Create(ctx context.Context, name string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.off {
		return nil, nil, 0, syscall.EIO
	}
	f := r.d.files[name]
	if f == nil {
		if r.d.full(1) {
			return nil, nil, 0, syscall.ENOSPC
		}
		r.d.created++
		f = &file{mode: mode & 0o777, ino: r.d.created, volatile: strings.HasSuffix(name, "-shm")}
		r.d.files[name] = f
	}
	f.attr(&out.Attr)
	return r.inode(ctx, f), nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Unlink removes a file's name.
func (r *root) Unlink(_ context.Context, name string) syscall.Errno {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	switch {
	case r.d.off:
		return syscall.EIO
	case r.d.files[name] == nil:
		return syscall.ENOENT
	}
	delete(r.d.files, name)
	return 0
}

// Rename gives a file another name.
func (r *root) Rename(_ context.Context, name string, _ fs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	switch f := r.d.files[name]; {
	case r.d.off:
		return syscall.EIO
	case f == nil:
		return syscall.ENOENT
	default:
		delete(r.d.files, name)
		r.d.files[newName] = f
	}
	return 0
}

// Readdir lists the files.
func (r *root) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	var list []fuse.DirEntry
	for name, f := range r.d.files {
		list = append(list, fuse.DirEntry{Name: name, Mode: fuse.S_IFREG, Ino: f.ino})
	}
	return fs.NewListDirStream(list), 0
}

// Fsync flushes the directory.
func (r *root) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return errno(r.d.sync(nil))
}

// Statfs tells how much space is left.
func (r *root) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	size := r.d.faults.Size
	if size == 0 {
		size = 1 << 40
	}
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
	out.Blocks = uint64(size / pageSize)
	out.Bfree = uint64(max(size-r.d.used(), 0) / pageSize)
	out.Bavail = out.Bfree
	return 0
}

// node is a file.
type node struct {
	fs.Inode
	d *Disk
	f *file
}

var _ = interface {
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeFlusher
	fs.NodeGetattrer
	fs.NodeSetattrer
}((*node)(nil))

func (f *file) attr(out *fuse.Attr) {
	out.Mode, out.Size, out.Ino, out.Nlink = fuse.S_IFREG|f.mode, uint64(len(f.now)), f.ino, 1
	out.Blocks = (out.Size + 511) / 512
}

// Open opens the file; its pages stay in the kernel's cache, as those of any file.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Flush is the end of a file handle, and flushes nothing.
func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Getattr tells mode and size.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	n.f.attr(&out.Attr)
	return 0
}

// Setattr changes mode and size.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if err := n.d.truncate(n.f, int64(size)); err != nil {
			return errno(err)
		}
	}
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if mode, ok := in.GetMode(); ok {
		n.f.mode = mode & 0o777
	}
	n.f.attr(&out.Attr)
	return 0
}

// Read reads.
func (n *node) Read(_ context.Context, _ fs.FileHandle, into []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if n.d.off {
		return nil, syscall.EIO
	}
	if at >= int64(len(n.f.now)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(into[:copy(into, n.f.now[at:])]), 0
}

// Write writes; it is on the disk when it is flushed.
func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	if err := n.d.writeAt(n.f, data, at); err != nil {
		return 0, errno(err)
	}
	return uint32(len(data)), 0
}

// Fsync flushes the file.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return errno(n.d.sync(n.f))
}
